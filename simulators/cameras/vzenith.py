"""VZenith (臻识): HTTP pushes, the heart-beat form, what the answers tell it.

Four retransmissions, then it is off-line: it decides by its own white list and keeps up to 9000 records. They follow
with `isoffline` 1, one after another, each only after `ContinuePushOffline` named the last; a live capture breaks in.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from simulators.cameras.maker import JSON, Maker, form, parsed
from simulators.cameras.model import CarSight, Post, PushAnswer, RelayOrder

_BOUNDARY: Final = "------------------------caa771fe4a61f3d9"
_COLOURS: Final = {"blue": 1, "yellow": 2, "white": 3, "black": 4, "green": 5, "yellow-green": 6}
_KINDS: Final = {
    "ordinary": 1, "police": 5, "wj": 6, "military": 8, "embassy": 10, "hong-kong": 11, "learner": 13, "macau": 14,
    "civil-aviation": 18, "new-energy": 19, "emergency": 21, "consulate": 22,
}  # fmt: skip
_NO_PLATE: Final = 31
_GATE: Final = 0
"""The relay that `info: ok` and its own white list move."""


class VZenith(Maker):
    """A barrier camera."""

    marks_history: ClassVar[bool] = True
    interrupts: ClassVar[bool] = True
    retry: ClassVar[float] = 1.0
    retries: ClassVar[int | None] = 4
    heartbeat: ClassVar[float | None] = 5.0
    memory: ClassVar[int] = 9000
    snapshots: ClassVar[tuple[str, ...]] = ("/snap",)

    def push(self, sight: CarSight, *, history: bool, opened: bool) -> Post:
        """AlarmInfoPlate."""
        said = {
            "AlarmInfoPlate": {
                "channel": 0, "deviceName": self.setup.name, "ipaddr": self.setup.address,
                "serialno": self._serial(), "result": {"PlateResult": self._result(sight, history, opened)},
            }
        }  # fmt: skip
        return Post("plate", "", JSON, json.dumps(said, ensure_ascii=False).encode(), sight, history)

    def alive(self) -> Post:
        """The form, with user and password in clear as the maker sends them."""
        said = {
            "device_name": "IVS", "ipaddr": self.setup.address, "port": "80", "user_name": self.setup.username or "",
            "pass_wd": self.setup.password or "", "serialno": self._serial(), "channel_num": "1",
        }  # fmt: skip
        body = form(_BOUNDARY, [(name, None, None, value.encode()) for name, value in said.items()])
        return Post("heartbeat", "/devicereg", f"multipart/form-data; boundary={_BOUNDARY}", body)

    def is_right(self, post: Post, status: int, body: bytes) -> bool:
        """JSON; for a plate `Response_AlarmInfoPlate`, which names the record if it comes out of the memory."""
        said = parsed(body)
        if status != 200 or not isinstance(said, dict):
            return False
        if post.what != "plate" or post.sight is None:
            return True
        told = said.get("Response_AlarmInfoPlate")
        if not isinstance(told, dict):
            return False
        go_on = told.get("ContinuePushOffline")
        if not post.history:
            return True
        return isinstance(go_on, dict) and go_on.get("continue") == 1 and go_on.get("plateid") == post.sight.number

    def orders(self, answer: PushAnswer) -> Iterable[RelayOrder]:
        """`info: ok` is its own gate; `ivs_ioctrl` whichever relay it names, one or a list of them."""
        said = parsed(answer.body)
        told: Any = said.get("Response_AlarmInfoPlate") if isinstance(said, dict) else None
        if not isinstance(told, Mapping):
            return
        if told.get("info") == "ok":
            yield RelayOrder(_GATE, 2, 0.5)
        relays = told.get("ivs_ioctrl")
        for one in relays if isinstance(relays, list) else [relays]:
            if isinstance(one, dict):
                yield RelayOrder(int(one["io"]), int(one["value"]), int(one.get("delay", 500)) / 1000)

    def raw(self, plate: str | None) -> str | None:
        """`_无_` where none was read."""
        return "_无_" if plate is None else plate

    def _serial(self) -> str:
        return f"{self.setup.name} 0001"

    def _result(self, sight: CarSight, history: bool, opened: bool) -> dict[str, object]:
        local = sight.local(self.setup.utc_offset)
        stamp = {
            "sec": int(sight.at), "usec": int(sight.at % 1 * 1e6), "decyear": local.year, "decmon": local.month,
            "decday": local.day, "dechour": local.hour, "decmin": local.minute, "decsec": local.second,
        }  # fmt: skip
        return {
            "license": self.raw(sight.plate), "confidence": round(sight.confidence),
            "colorType": _COLOURS.get(sight.colour or "", 0), "plateid": sight.number, "isoffline": int(history),
            "type": _NO_PLATE if sight.plate is None else _KINDS.get(sight.kind or "", 1),
            "direction": 4 if sight.direction == "forward" else 3, "triggerType": 1, "carColor": 255,
            "is_fake_plate": 0, "timeStamp": {"Timeval": stamp}, "timeUsed": 0,
            "gioouts": [{"ionum": _GATE, "ctrltype": 2 if opened else 0}],
            "location": {"RECT": {"left": 400, "top": 300, "right": 560, "bottom": 350}},
            "imageFile": base64.b64encode(sight.scene_picture).decode(),
            "imageFragmentFile": base64.b64encode(sight.plate_picture).decode(),
        }  # fmt: skip
