"""What `scripts/tune_kernels.py` finds in a traced network, without TRITON_INTERPRET.

Run as a program, `python -m tests.triton_kernels.traced INDEX`, it prints a line of JSON for each
launch of a small network whose convolutions have the INDEX-th of their configurations.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


def main() -> None:
    from _kernel_times import launches_of
    from tune_kernels import configurations_of, shape_of

    import deltajax as dj
    from deltajax.models import create
    from deltajax.ops import update_triton

    index = int(sys.argv[1])
    network = create("simple_cnn", implementation="triton", dtype=jnp.bfloat16)
    frames = jax.ShapeDtypeStruct((2, 3, 64, 96, 3), jnp.uint8)
    variables = jax.eval_shape(network.init, jax.random.key(0), frames.update(shape=(3, 64, 96, 3)))
    chosen = {}

    def choose(shape):
        of_shape = configurations_of(shape)
        return chosen.setdefault(shape, of_shape[index % len(of_shape)])

    with update_triton.configured(choose):
        traced = jax.jit(lambda v, x: dj.scan_frames(network, v, x)).trace(variables, frames)
    for launch in launches_of(traced.jaxpr):
        kernel = launch.kernel
        report = {"name": kernel.name, "grid": kernel.grid, "threads": kernel.threads}
        report["shared_bytes"] = kernel.shared_bytes
        if kernel.name == "convolution_kernel":
            config = chosen[shape_of(launch, list(chosen))]
            report["programs"] = config.shares * config.team
            report["warps"] = config.num_warps
            report["block"] = config.block_m, config.block_n
            report["compiled_block"] = [
                dict(launch.source.constants)[name] for name in ("BLOCK_M", "BLOCK_N")
            ]
        print(json.dumps(report))


if __name__ == "__main__":
    main()
