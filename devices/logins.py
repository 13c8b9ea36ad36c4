"""What gateways, vehicles and devices that speak MQTT by themselves are called on the broker: role and id."""


def gateway_login(gateway: str) -> str:
    """Returns the name that a gateway logs in with."""
    return f"gateway.{gateway}"


def device_login(device: str) -> str:
    """Returns the name that a vehicle or a device with MQTT of its own logs in with."""
    return f"device.{device}"
