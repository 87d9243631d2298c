"""A small tree with the layout of Human3.6M: one skeleton that turns, seen by four cameras."""

import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from cdflib.cdfwrite import CDF

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
JOINTS = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
SIDE = 64  # of the pictures
HEAD_TOP = 10  # among the 17: a white dot is painted there
FRAMES = 12

# x to the person's left, y forward, z up; millimetres.
SKELETON = np.array(
    [
        *((0, 0, 950), (-130, 0, 950), (-130, 20, 500), (-130, -20, 60)),
        *((130, 0, 950), (130, 30, 500), (130, 0, 60)),
        *((0, 0, 1200), (0, 0, 1450), (0, 90, 1520), (0, 30, 1640)),
        *((150, 0, 1420), (250, 40, 1150), (260, 200, 950)),
        *((-150, 0, 1420), (-400, 50, 1400), (-600, 150, 1350)),
    ],
    np.float64,
)

# f, c, k and p of each camera: those of Human3.6M, roughly, for its 1000 pixels.
OPTICS = {
    camera: (
        (73.0 + number, 73.5 + number),
        (31.0 + number / 2, 32.5 - number / 3),
        (-0.2, 0.24, -0.002),
        (-0.0009 + 0.0003 * number, -0.0014 + 0.0002 * number),
    )
    for number, camera in enumerate(CAMERAS)
}


def place(subject: str, camera: str) -> tuple[np.ndarray, np.ndarray]:
    """Axes (right, down, forward, as rows) and position of a camera that looks at the middle."""
    turn = math.pi / 4 + CAMERAS.index(camera) * math.pi / 2 + 0.02 * int(subject[1:])
    position = np.array([4500 * math.cos(turn), 4500 * math.sin(turn), 1500.0])
    forward = np.array([0, 0, 900.0]) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward]), position


def see(point: np.ndarray, subject: str, camera: str) -> tuple[float, float]:
    """Pixel of one point, written out in numbers."""
    axes, position = place(subject, camera)
    right, down, forward = (float(axis @ (point - position)) for axis in axes)
    x, y = right / forward, down / forward
    (f1, f2), (c1, c2), (k1, k2, k3), (p1, p2) = OPTICS[camera]
    r2 = x * x + y * y
    factor = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * y + p2 * x
    return f1 * (x * factor + p2 * r2) + c1, f2 * (y * factor + p1 * r2) + c2


def positions(subject: str, action: str, frames: int = FRAMES) -> np.ndarray:
    """[T, 17, 3]: the skeleton turns and walks, in another way in each action."""
    rng = np.random.default_rng(zlib.crc32(f"{subject} {action}".encode()))
    angles = rng.uniform(0, 2 * np.pi) + 0.1 * np.arange(frames)
    sin, cos = np.sin(angles), np.cos(angles)
    turned = SKELETON * rng.uniform(0.95, 1.05)
    x = cos[:, None] * turned[:, 0] - sin[:, None] * turned[:, 1]
    y = sin[:, None] * turned[:, 0] + cos[:, None] * turned[:, 1]
    moved = np.stack([x, y, np.broadcast_to(turned[:, 2], x.shape)], axis=-1)
    start, step = rng.uniform(-500, 500, 2), rng.uniform(-20, 20, 2)
    moved[:, :, :2] += start + step * np.arange(frames)[:, None, None]
    return moved


def points(in_world: np.ndarray, subject: str, camera: str) -> np.ndarray:
    """[T, 17, 2], in pixels."""
    seen = [[see(joint, subject, camera) for joint in frame] for frame in in_world]
    return np.array(seen)


def write_cdf(path: Path, joints: np.ndarray, variable: str = "Pose") -> None:
    """The 17 joints of [T, 17, D] among 32; the others are 7."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pose = np.full((len(joints), 32, joints.shape[-1]), 7.0, np.float32)
    pose[:, JOINTS] = joints
    write_pose(path, pose.reshape(1, len(joints), -1), variable)


def write_pose(path: Path, pose: np.ndarray, variable: str = "Pose") -> None:
    """[1, T, any], as the files hold it."""
    path.unlink(missing_ok=True)
    file = CDF(path)
    kind: dict[str, Any] = {
        "Variable": variable,
        "Data_Type": file.CDF_FLOAT,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(pose.shape[1:]),
    }
    file.write_var(kind, var_data=pose.astype(np.float32))
    file.close()


def picture(dot: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Dark, and brighter around a point, uint8 [side, side, 3]."""
    axis = np.arange(side)
    square = (axis[None, :] - dot[0]) ** 2 + (axis[:, None] - dot[1]) ** 2
    gray = np.rint(30 + 200 * np.exp(-square / 3)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)


def middle_of_dot(image: np.ndarray) -> np.ndarray:
    """Where the bright place of a picture is, x and y."""
    weight = np.clip(image.astype(np.float64).mean(axis=-1) - 90, 0, None)
    axes = np.arange(image.shape[1]), np.arange(image.shape[0])
    return np.array([weight.sum(0) @ axes[0], weight.sum(1) @ axes[1]]) / weight.sum()


def write_video(path: Path, dots: np.ndarray) -> None:
    """A picture for each of the dots [T, 2]; what describes the file is before the pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crf": "4", "preset": "ultrafast", "threads": "1"}
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", rate=50, options=options)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 4
        for dot in dots:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(dot), format="rgb24")))
        file.mux(stream.encode())


def metadata(numbers: Iterable[float] | None = None) -> str:
    """Text of metadata.xml."""
    if numbers is None:
        numbers = []
        for camera in CAMERAS:
            for subject in range(1, 12):
                axes, position = place(f"S{subject}", camera)
                # Of axes = Rx Ry Rz.
                numbers += [
                    math.atan2(-axes[1, 2], axes[2, 2]),
                    math.asin(axes[0, 2]),
                    math.atan2(-axes[0, 1], axes[0, 0]),
                    *position,
                ]
        for camera in CAMERAS:
            numbers += [number for group in OPTICS[camera] for number in group]
    ids = "".join(f"<item>{camera}</item>" for camera in CAMERAS)
    w0 = " ".join(f"{number:.12g}" for number in numbers)
    return f"<db><dbcameras><index2id>{ids}</index2id></dbcameras><w0>[{w0}]</w0></db>\n"


def write_sequence(root: Path, subject: str, action: str, camera: str) -> None:
    """Video and D2_Positions."""
    seen = points(positions(subject, action), subject, camera)
    folder = root / subject
    write_cdf(folder / "MyPoseFeatures" / "D2_Positions" / f"{action}.{camera}.cdf", seen)
    write_video(folder / "Videos" / f"{action}.{camera}.mp4", seen[:, HEAD_TOP])


def write_tree(
    root: Path,
    subjects: tuple[str, ...],
    actions: tuple[str, ...] = ("Directions",),
    cameras: tuple[str, ...] = CAMERAS,
) -> Path:
    """Returns the folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata.xml").write_text(metadata())
    for subject in subjects:
        for action in actions:
            in_world = positions(subject, action)
            folder = root / subject / "MyPoseFeatures" / "D3_Positions"
            write_cdf(folder / f"{action}.cdf", in_world)
            for camera in cameras:
                write_sequence(root, subject, action, camera)
        for name in (f"_ALL.{CAMERAS[0]}.mp4", f"._Directions.{CAMERAS[0]}.mp4", "Thumbs.db"):
            (root / subject / "Videos" / name).write_bytes(b"no video")
    return root
