"""The hub: what runs at the centre of the community."""
