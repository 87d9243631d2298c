"""What the scripts for poses share: data by name, joints that a network finds, their scores."""

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from _training import counting_bar
from jaxtyping import Float
from matplotlib import image
from rich.console import Console
from rich.table import Table

from deltajax.datasets import (
    JOINT_NAMES,
    FigurePictures,
    PoseClips,
    PosePictures,
    PoseScores,
    figure_clips,
    figure_pictures,
    pose_scores,
    still_backgrounds,
)
from deltajax.models import VideoNetwork, decode_heatmaps
from deltajax.models.skeletons import HUMAN36M
from deltajax.video import skeleton_overlay, tile

FIGURES = "figures"
STRIDE = 4
"""Pixels of a picture for one of a heatmap, of all pose networks."""
CHUNK = 25
"""Pictures that a network sees at once."""
TRAIN, TEST = 20_000, 500
"""Figures that are painted if their number is not given."""
CLIPS, CLIP_FRAMES = 12, 50
CLIP_SEED = 1000
"""Of the first clip that is scored on."""
CLIP_FACTORS = (3 / 2, 2)
"""Height and width of a clip, over those of the pictures that are learnt from: a fixed camera sees
more than a person."""
CLIP_TALL = (0.3, 0.5)
"""Shares of a clip's height that people have, about as large in pixels as in the pictures."""
STILLS = (288, 384)
"""To which still backgrounds are scaled; parts of them are behind figures."""
EXAMPLES, ENLARGED = (3, 6), 2
"""Rows and columns of the picture with examples, and pixels along each side for one of them."""

Variables = Mapping[str, Any]
Scores = dict[str, PoseScores]


class PoseData(NamedTuple):
    """What is learnt from, tested on after each epoch, and scored on in the end."""

    train: PosePictures | FigurePictures
    test: PosePictures
    clips: PoseClips | None

    def scored(self) -> Iterator[tuple[str, PosePictures]]:
        """What networks are scored on, and what to call it."""
        yield "pictures", self.test
        if self.clips is not None:
            yield "clips", pictures_of(self.clips)


def pictures_of(clips: PoseClips) -> PosePictures:
    """All frames."""
    images, points, counts = (
        array.reshape(-1, *array.shape[2:]) for array in (clips.frames, clips.points, clips.counts)
    )
    return PosePictures(images, points, counts, clips.source)


def read_pose_data(
    source: str,
    size: tuple[int, int],
    *,
    counts: tuple[int | None, int | None],
    seed: int,
    anew: bool,
    backgrounds: Sequence[Path],
    protocol: Literal[1, 2],
    every: int,
    cache: Path | None,
    console: Console,
) -> PoseData:
    """Figures, or Human3.6M.

    Args:
        source: "figures", or the folder of Human3.6M.
        size: (H, W) of pictures.
        counts: of pictures to learn from, and to test on; None for the usual number, or all.
        seed: of figures.
        anew: see `figures`.
        backgrounds: of figures.
        protocol: of Human3.6M.
        every: which of its frames are taken.
        cache: folder for its pictures.
        console: for the progress, and for what is missing or mislabelled.
    """
    if source == FIGURES:
        numbers = counts[0] or TRAIN, counts[1] or TEST
        return figures(size, numbers, seed, anew, backgrounds, console)
    from deltajax.datasets.human36m import read_human36m  # cdflib, which figures do not need

    parts = []
    for part, count in zip(("train", "test"), counts, strict=True):
        with counting_bar(console, f"reading Human3.6M, {part}", None) as advance:
            pictures, problems = read_human36m(
                source, part, protocol=protocol, size=size, every=every, cache=cache,
                progress=advance,
            )  # fmt: skip
        console.print(str(problems))
        parts.append(pictures.first(count))
    return PoseData(*parts, clips=None)


def figures(
    size: tuple[int, int],
    counts: tuple[int, int],
    seed: int,
    anew: bool,
    backgrounds: Sequence[Path],
    console: Console,
) -> PoseData:
    """People who are made. What is scored on depends on the size alone.

    Args:
        size: (H, W) of the pictures.
        counts: of pictures to learn from, and to test on.
        seed: of the pictures.
        anew: paint those to learn from when they are needed.
        backgrounds: videos or pictures.
        console: for the progress.
    """
    stills = stills_of(backgrounds, clip_size(size))
    total = sum(counts[anew:]) + CLIPS * CLIP_FRAMES
    with counting_bar(console, "painting people", total) as advance:
        paint = functools.partial(figure_pictures, size=size, backgrounds=stills, progress=advance)
        if anew:
            train = FigurePictures(counts[0], size, seed=2 * seed, backgrounds=stills)
        else:
            train = paint(counts[0], seed=2 * seed)
        test = paint(counts[1], seed=2 * seed + 1)
        clips = figure_clips(
            CLIPS,
            CLIP_FRAMES,
            clip_size(size),
            seed=CLIP_SEED,
            backgrounds=stills,
            tall=CLIP_TALL,
            progress=lambda count: advance(count * CLIP_FRAMES),
        )
    return PoseData(train, test, clips)


def stills_of(videos: Sequence[Path], size: tuple[int, int]) -> Float[np.ndarray, "B H W 3"]:
    """Still backgrounds of videos, large enough for pictures of a size."""
    height, width = (max(own, side) for own, side in zip(STILLS, size, strict=True))
    return still_backgrounds(videos, (height, width))


def clip_size(size: tuple[int, int]) -> tuple[int, int]:
    """Of clips beside pictures of a size: multiples of 32."""
    height, width = (32 * round(f * side / 32) for f, side in zip(CLIP_FACTORS, size, strict=True))
    return height, width


def find_joints(network: VideoNetwork, variables: Variables, images: np.ndarray) -> np.ndarray:
    """Joints [N, K, 2] in pixels of the pictures [N, H, W, 3], by the dense network."""
    missing = -len(images) % CHUNK
    padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
    chunks = padded.reshape(-1, CHUNK, *images.shape[1:])
    found = [points_of(_dense(network, variables, chunk)) for chunk in chunks]
    return np.concatenate(found)[: len(images)]


def points_of(heatmaps: jax.Array) -> np.ndarray:
    """Joints [N, K, 2] in pixels of the pictures, from heatmaps [N, h, w, K]."""
    return STRIDE * np.asarray(decode_heatmaps(heatmaps, "taylor").points)


@functools.partial(jax.jit, static_argnums=0)
def _dense(network: VideoNetwork, variables: Variables, images: jax.Array) -> jax.Array:
    heatmaps: Any = network.apply(variables, images)
    return heatmaps


def score_pictures(
    network: VideoNetwork, variables: Variables, pictures: PosePictures
) -> PoseScores:
    """Of the joints that the dense network finds."""
    points = find_joints(network, variables, pictures.images)
    return pose_scores(points, pictures.points, pictures.counts)


def scores_table(scores: Scores, title: str) -> Table:
    """PCK and errors of each joint, for a person to read."""
    rows = Table(title=title)
    rows.add_column("joint")
    for name in scores:
        for column in ("PCK@0.2", "PCKh@0.5", "error"):
            rows.add_column(f"{name}\n{column}", justify="right")
    for number, joint in enumerate(JOINT_NAMES):
        cells = [
            text
            for own in scores.values()
            for text in _cells(own.pck[number], own.pckh[number], own.error[number])
        ]
        rows.add_row(joint, *cells, end_section=number == len(JOINT_NAMES) - 1)
    means = [
        text
        for own in scores.values()
        for text in _cells(own.mean_pck, own.mean_pckh, own.mean_error)
    ]
    rows.add_row("all", *means, style="bold")
    return rows


def _cells(pck: float, pckh: float, error: float) -> tuple[str, str, str]:
    return f"{pck:.3f}", f"{pckh:.3f}", f"{error:.2f} px"


def scores_json(scores: PoseScores) -> dict[str, Any]:
    """For reports; joints that are nowhere to be seen have null."""

    def each(values: np.ndarray) -> dict[str, float | None]:
        finite = [float(value) if np.isfinite(value) else None for value in values]
        return dict(zip(JOINT_NAMES, finite, strict=True))

    return {
        "pck_0.2": scores.mean_pck,
        "pckh_0.5": scores.mean_pckh,
        "mean_error_pixels": scores.mean_error,
        "joints": scores.count,
        "pck_0.2_of_each": each(scores.pck),
        "pckh_0.5_of_each": each(scores.pckh),
        "error_pixels_of_each": each(scores.error),
    }


def examples_picture(network: VideoNetwork, variables: Variables, pictures: PosePictures) -> bytes:
    """Some pictures with the joints that the dense network finds in them, as PNG."""
    rows, columns = EXAMPLES
    images = pictures.images[: rows * columns]
    points = find_joints(network, variables, images)
    sides = np.array(HUMAN36M.sides)
    drawn = [
        skeleton_overlay(enlarged(picture), ENLARGED * own, HUMAN36M.edges, sides=sides)
        for picture, own in zip(images, points, strict=True)
    ]
    buffer = io.BytesIO()
    image.imsave(buffer, tile(drawn, columns), format="png")
    return buffer.getvalue()


def enlarged(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
