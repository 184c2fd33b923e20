"""`labkit gpu`: everything of tier gpu on this machine's GPU, and one file of evidence."""

import sys

import click


@click.command()
@click.argument("parts", nargs=-1)
@click.option("--rehearse", is_flag=True, help="Run the parts small on the CPU, to see that they would run; no record.")
@click.option("--no-record", is_flag=True, help="Write nothing into evidence/.")
def gpu(parts: tuple[str, ...], rehearse: bool, no_record: bool) -> None:
    """Run PARTS (all of them by default) on the GPU and write what came into evidence/.

    Exit code 1 when a part failed or a target was missed. Without a GPU it says so, and exits with 0.
    """
    from labkit import hardware
    from labkit.evidence import PARTS, recorded
    from labkit.evidence.run import gather_evidence, run_parts

    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        raise click.UsageError(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    chosen = parts or tuple(PARTS)
    if not rehearse and hardware.tier() != "gpu":
        print("No GPU that torch can use is here, so nothing of tier gpu was run (`labkit doctor` knows the reasons).")
        print("\n".join(f"  {name}: {recorded(name)}" for name in chosen))
        return
    results = run_parts("cpu" if rehearse else "cuda", chosen)
    if not (rehearse or no_record):
        print(f"written: {gather_evidence(results).write()}")
        print("`labkit build` brings it into the README's table; commit both.")
    good = all(not result.error and all(target.met for target in result.targets) for result in results.values())
    sys.exit(0 if good else 1)
