"""The makers, by the `driver` of the site file."""

from collections.abc import Mapping
from typing import Final

from simulators.cameras.dahua import Dahua
from simulators.cameras.hikvision import Hikvision
from simulators.cameras.maker import Maker
from simulators.cameras.others import Gat1400, Generic, PicturesOnly, PlateRecognizer, UniView
from simulators.cameras.vzenith import VZenith

MAKERS: Final[Mapping[str, type[Maker]]] = {
    "hikvision": Hikvision,
    "dahua": Dahua,
    "vzenith": VZenith,
    "uniview": UniView,
    "gat1400": Gat1400,
    "platerecognizer": PlateRecognizer,
    "generic": Generic,
    "onvif": PicturesOnly,
}
