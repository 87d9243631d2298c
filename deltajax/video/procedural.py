"""Walking figures before a fixed background: video of any size, with its ground truth."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ._background import draw_background
from ._figure import JOINT_NAMES, Figure, draw_limb
from .batch import VideoBatch

__all__ = ["JOINT_NAMES", "ProceduralClip"]


class ProceduralClip:
    """A fixed camera, a textured background, and people who walk back and forth.

    Every frame is a function of the arguments and its own number alone: frames may be
    taken in any order, and again.

    Args:
        height: H, in pixels.
        width: W, in pixels.
        figures: how many people walk.
        noise: standard deviation of the Gaussian sensor noise, fresh in every frame, with
            pixel values in [0, 1]. 0: outside the figures, frames are identical.
        seed: of the background, the figures and the noise.
        fps: frames per second; the walk is that much slower per frame.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        figures: int = 3,
        noise: float = 0.01,
        seed: int = 0,
        fps: float = 10.0,
    ) -> None:
        if min(height, width) < 1:
            raise ValueError(f"height and width must be positive, got {height} and {width}")
        if figures < 0 or seed < 0:
            raise ValueError(f"figures and seed must be at least 0, got {figures} and {seed}")
        if not 0 <= noise <= 1:
            raise ValueError(f"noise must be in [0, 1], got {noise}")
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        self.height = height
        self.width = width
        self.figures = figures
        self.noise = noise
        self.seed = seed
        self.fps = fps
        generator = np.random.default_rng(seed)
        self._background = draw_background(height, width, generator)
        people = [_random_figure(height, width, generator) for _ in range(figures)]
        # Who stands lower in the picture is nearer, and hides the others.
        self._people = sorted(people, key=lambda person: person.ground)

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Returns one frame, uint8 [H, W, 3] RGB."""
        picture = self._background.copy()
        self._draw_people(number, picture, None)
        if self.noise > 0:
            generator = np.random.Generator(np.random.SFC64([self.seed, number]))
            noise = generator.standard_normal(picture.shape, np.float32)
            noise *= np.float32(255 * self.noise)
            picture += noise
            np.clip(picture, 0, 255, out=picture)
        picture += np.float32(0.5)  # rounds, as the cast truncates
        return picture.astype(np.uint8)

    def frames(self, num_frames: int, start: int = 0) -> NDArray[np.uint8]:
        """Returns consecutive frames, uint8 [T, H, W, 3] RGB with T = `num_frames`."""
        frames = np.empty((num_frames, self.height, self.width, 3), np.uint8)
        for step in range(num_frames):
            frames[step] = self.frame(start + step)
        return frames

    def joints(self, number: int) -> NDArray[np.float32]:
        """Returns the joints of all figures, the farthest first.

        float32 [figures, 17, 2], as (x, y) in pixels from the centre of the first pixel,
        in the order of `JOINT_NAMES`. Joints that are hidden or outside are given too.
        """
        seconds = self._seconds(number)
        joints = [person.joints(seconds) for person in self._people]
        return np.array(joints, np.float32).reshape(self.figures, len(JOINT_NAMES), 2)

    def foreground(self, number: int) -> NDArray[np.bool_]:
        """Returns the pixels that figures cover, be it in part, bool [H, W]."""
        covered = np.zeros((self.height, self.width), np.bool_)
        self._draw_people(number, self._background.copy(), covered)
        return covered

    def batches(
        self, num_frames: int, batch_frames: int = 16, streams: int = 1
    ) -> Iterator[VideoBatch]:
        """Yields batches as `VideoReader` does, `num_frames` frames in all.

        Stream n is the clip of seed `seed` + n, with a background of its own.
        """
        if min(batch_frames, streams) < 1:
            raise ValueError(
                f"batch_frames and streams must be at least 1, got {batch_frames} and {streams}"
            )
        clips = [self] + [self._with_seed(self.seed + n) for n in range(1, streams)]
        for start in range(0, num_frames, batch_frames):
            count = min(batch_frames, num_frames - start)
            frames = np.stack([clip.frames(count, start) for clip in clips], axis=1)
            yield VideoBatch(frames, np.ones((count, streams), np.bool_))

    def _with_seed(self, seed: int) -> "ProceduralClip":
        return ProceduralClip(
            self.height,
            self.width,
            figures=self.figures,
            noise=self.noise,
            seed=seed,
            fps=self.fps,
        )

    def _draw_people(
        self, number: int, picture: NDArray[np.float32], covered: NDArray[np.bool_] | None
    ) -> None:
        seconds = self._seconds(number)
        for person in self._people:
            for limb in person.limbs(seconds):
                draw_limb(picture, covered, limb)

    def _seconds(self, number: int) -> float:
        if number < 0:
            raise ValueError(f"frames are numbered from 0, got {number}")
        return number / self.fps


def _random_figure(height: int, width: int, generator: np.random.Generator) -> Figure:
    nearness = generator.uniform(0, 1)
    tall = height * (0.38 + 0.3 * nearness) * generator.uniform(0.93, 1.07)
    margin = min(0.2 * tall, 0.4 * width)  # an arm's swing stays in the picture
    return Figure(
        tall=tall,
        ground=height * (0.70 + 0.26 * nearness),
        left=margin,
        right=width - 1 - margin,
        speed=generator.uniform(0.9, 1.5),
        start=generator.uniform(0, 1),
        skin=np.array((224, 176, 144), np.float32) * np.float32(generator.uniform(0.4, 1.0)),
        hair=np.array((70, 52, 40), np.float32) * np.float32(generator.uniform(0.3, 1.6)),
        shirt=generator.uniform(40, 235, 3).astype(np.float32),
        trousers=generator.uniform(25, 130, 3).astype(np.float32),
        shoes=np.full(3, generator.uniform(20, 90), np.float32),
    )
