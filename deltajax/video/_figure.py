"""A walking person: its pose at a time, and its picture drawn limb by limb."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

JOINT_NAMES: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""The joints in the order of the COCO keypoint data set."""

# Lengths as shares of the height of the body, the usual proportions of anthropometry.
_THIGH, _SHANK, _UPPER_ARM, _FOREARM, _FOOT = 0.245, 0.246, 0.186, 0.16, 0.11
_TORSO, _NECK, _HEAD_RADIUS = 0.29, 0.05, 0.065
_HALF_HIPS, _HALF_SHOULDERS = 0.07, 0.11
_SOLE = 0.03
_SWING = 0.45  # largest angle of the thigh against the vertical, in radians
_STRIDE = 4 * (_THIGH + _SHANK) * np.sin(_SWING)  # two steps
_METRES_TALL = 1.7
# How sharply a figure turns at the ends of its way: 0 glides like a sine, 1 jumps.
_TURN = 0.985


class Limb(NamedTuple):
    """A round cone between two points (x, y) in pixels, of one colour."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    start_radius: float
    end_radius: float
    colour: NDArray[np.float32]


@dataclass(frozen=True)
class Figure:
    """A person who walks back and forth between two points.

    Attributes:
        tall: height of the body, in pixels.
        ground: y of the soles, in pixels.
        left: smallest x of the body's axis, in pixels.
        right: largest x of the body's axis, in pixels.
        speed: metres per second, for a body of 1.7 m.
        start: position on the way at time zero; 1 is once back and forth.
        skin, hair, shirt, trousers, shoes: colours, RGB with values in [0, 255].
    """

    tall: float
    ground: float
    left: float
    right: float
    speed: float
    start: float
    skin: NDArray[np.float32]
    hair: NDArray[np.float32]
    shirt: NDArray[np.float32]
    trousers: NDArray[np.float32]
    shoes: NDArray[np.float32]

    def joints(self, seconds: float) -> NDArray[np.float64]:
        """Returns the joints of `JOINT_NAMES`, [17, 2], as (x, y) in pixels."""
        return self._pose(seconds)[0]

    def limbs(self, seconds: float) -> list[Limb]:
        """Returns what to draw, the farthest first."""
        joints, neck, head, toes, facing = self._pose(seconds)
        joint = dict(zip(JOINT_NAMES, joints, strict=True))
        tall = self.tall
        hips = (joint["left_hip"] + joint["right_hip"]) / 2
        near, far = ("right", "left") if facing > 0 else ("left", "right")

        def arm(side: str, shade: float) -> list[Limb]:
            shoulder, elbow, wrist = (joint[f"{side}_{n}"] for n in ("shoulder", "elbow", "wrist"))
            return [
                Limb(shoulder, elbow, 0.034 * tall, 0.026 * tall, self.shirt * shade),
                Limb(elbow, wrist, 0.025 * tall, 0.018 * tall, self.skin * shade),
                Limb(wrist, wrist, 0.024 * tall, 0.024 * tall, self.skin * shade),
            ]

        def leg(side: str, shade: float) -> list[Limb]:
            hip, knee, ankle = (joint[f"{side}_{n}"] for n in ("hip", "knee", "ankle"))
            return [
                Limb(hip, knee, 0.055 * tall, 0.036 * tall, self.trousers * shade),
                Limb(knee, ankle, 0.036 * tall, 0.024 * tall, self.trousers * shade),
                Limb(ankle, toes[side], 0.028 * tall, 0.018 * tall, self.shoes * shade),
            ]

        half_width = 0.075 + 0.035 * np.sqrt(1 - facing * facing)
        chest = neck + (hips - neck) * (half_width / _TORSO)
        skull = _HEAD_RADIUS * tall
        hair = head - np.array([0.35 * facing * skull, 0.45 * skull])
        return [
            *arm(far, 0.75),
            *leg(far, 0.75),
            *leg(near, 1.0),
            Limb(neck, head, 0.03 * tall, 0.03 * tall, self.skin * np.float32(0.85)),
            Limb(chest, hips, half_width * tall, 0.072 * tall, self.shirt),
            Limb(head, head, skull, skull, self.skin),
            Limb(hair, hair, 0.85 * skull, 0.85 * skull, self.hair),
            *arm(near, 1.0),
        ]

    def _place(self, seconds: float) -> tuple[float, float, float]:
        """x of the axis, the direction that is faced (1 right, 0 camera, -1 left), the phase."""
        half = (self.right - self.left) / 2
        pixels = self.speed * seconds * self.tall / _METRES_TALL
        angle = 2 * np.pi * (self.start + pixels / max(4 * half, 1.0))
        sine = _TURN * np.sin(angle)
        x = self.left + half + half * np.arcsin(sine) / np.arcsin(_TURN)
        # Never quite in profile, so that the far limbs show behind the near ones.
        facing = 0.95 * np.cos(angle) / np.sqrt(1 - sine * sine)
        return float(x), float(facing), 2 * np.pi * (self.start + pixels / (_STRIDE * self.tall))

    def _pose(
        self, seconds: float
    ) -> tuple[
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
        dict[str, NDArray[np.float64]],
        float,
    ]:
        """Joints [17, 2], neck, centre of the head, toes by side, and the direction faced."""
        axis, facing, phase = self._place(seconds)
        aside = np.sqrt(1 - facing * facing)

        def project(forward: float, leftward: float, up: float) -> NDArray[np.float64]:
            # Turning, a figure shows its face, so its left is at the right of the picture.
            x = axis + self.tall * (facing * forward + aside * leftward)
            return np.array([x, self.ground - self.tall * up])

        legs = {side: _leg(phase + offset) for side, offset in (("left", 0.0), ("right", np.pi))}
        # The lower foot stands on the ground and carries the rest.
        hips = _SOLE + max(drop for _, (_, drop), _ in legs.values())
        shoulders = hips + _TORSO
        joints: dict[str, NDArray[np.float64]] = {}
        toes: dict[str, NDArray[np.float64]] = {}
        for side, sign in (("left", 1.0), ("right", -1.0)):
            (knee_x, knee_drop), (ankle_x, ankle_drop), (toe_x, toe_drop) = legs[side]
            lateral = sign * _HALF_HIPS
            joints[f"{side}_hip"] = project(0.0, lateral, hips)
            joints[f"{side}_knee"] = project(knee_x, lateral, hips - knee_drop)
            joints[f"{side}_ankle"] = project(ankle_x, lateral, hips - ankle_drop)
            toes[side] = project(toe_x, lateral, hips - toe_drop)
            # An arm swings with the leg of the other side.
            swing = -0.55 * np.sin(phase + (0.0 if side == "left" else np.pi))
            bend = swing + 0.35 + 0.2 * np.sin(swing)
            elbow = (_UPPER_ARM * np.sin(swing), shoulders - _UPPER_ARM * np.cos(swing))
            wrist = (elbow[0] + _FOREARM * np.sin(bend), elbow[1] - _FOREARM * np.cos(bend))
            joints[f"{side}_shoulder"] = project(0.0, sign * _HALF_SHOULDERS, shoulders)
            joints[f"{side}_elbow"] = project(elbow[0], sign * 1.2 * _HALF_SHOULDERS, elbow[1])
            joints[f"{side}_wrist"] = project(wrist[0], sign * 1.2 * _HALF_SHOULDERS, wrist[1])
            head = shoulders + _NECK + _HEAD_RADIUS
            joints[f"{side}_eye"] = project(0.05, sign * 0.025, head + 0.015)
            joints[f"{side}_ear"] = project(0.0, sign * 0.06, head)
        joints["nose"] = project(0.07, 0.0, head)
        ordered = np.stack([joints[name] for name in JOINT_NAMES])
        return ordered, project(0.0, 0.0, shoulders), project(0.0, 0.0, head), toes, facing


def _leg(phase: float) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Knee, ankle and toes as (forward, down) from the hip, in heights of the body."""
    thigh = 0.05 + _SWING * np.sin(phase)
    # The knee bends while the leg swings forward, so that the foot clears the ground.
    bend = 0.08 + 0.95 * max(0.0, np.cos(phase + 0.35)) ** 1.5
    shank = thigh - bend
    knee = (_THIGH * np.sin(thigh), _THIGH * np.cos(thigh))
    ankle = (knee[0] + _SHANK * np.sin(shank), knee[1] + _SHANK * np.cos(shank))
    pitch = min(0.0, 0.8 * (shank + 0.15))
    toes = (ankle[0] + _FOOT * np.cos(pitch), ankle[1] + 0.01 - _FOOT * np.sin(pitch))
    return knee, ankle, toes


def draw_limb(picture: NDArray[np.float32], covered: NDArray[np.bool_] | None, limb: Limb) -> None:
    """Draws into `picture`, float32 [H, W, 3], and marks what it touches in bool [H, W]."""
    height, width = picture.shape[:2]
    reach = max(limb.start_radius, limb.end_radius) + 1
    low = np.floor(np.minimum(limb.start, limb.end) - reach).astype(int)
    high = np.ceil(np.maximum(limb.start, limb.end) + reach).astype(int) + 1
    left, right = max(0, int(low[0])), min(width, int(high[0]))
    top, bottom = max(0, int(low[1])), min(height, int(high[1]))
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32) - np.float32(limb.start[0])
    y = (np.arange(top, bottom, dtype=np.float32) - np.float32(limb.start[1]))[:, None]
    axis = (limb.end - limb.start).astype(np.float32)
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-6), 0, 1)
    distance = np.hypot(x - along * axis[0], y - along * axis[1])
    radius = limb.start_radius + np.float32(limb.end_radius - limb.start_radius) * along
    coverage = np.clip(radius - distance + np.float32(0.5), 0, 1)
    # Darker towards the edge: a limb is round.
    shade = 1 - np.float32(0.4) * np.square(np.minimum(distance / (radius + np.float32(0.5)), 1))
    patch = picture[top:bottom, left:right]
    patch += coverage[..., None] * (shade[..., None] * limb.colour - patch)
    if covered is not None:
        covered[top:bottom, left:right] |= coverage > 0
