"""What asks for work beside the work orders of a site file."""

from __future__ import annotations

from functools import partial

from controller.crop_work import crop_tasks
from controller.site import Site
from controller.workbook import Source
from controller.yard_work import yard_tasks


def sources(site: Site) -> tuple[Source, ...]:
    """Returns a source per yard and per batch of a crop."""
    farm, yards = site.farm, (partial(yard_tasks, yard) for yard in site.waste.yards)
    if farm.climate is None:
        return tuple(yards)
    return (*yards, *(partial(crop_tasks, batch, farm.climate, site.timezone) for batch in farm.batches))
