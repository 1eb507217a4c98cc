"""`p2pqg compare`, `models`, `report`, `watch`, `topology`, `consensus`: what came of runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from p2pqg.base.text import user_path
from p2pqg.cli.program import (
    SHARE,
    clients_flag,
    debug_flag,
    draw_flag,
    main,
    print_lines,
    print_rows,
    tell_on_stderr,
)


@main.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...")
@click.option(
    "--to-accuracy",
    type=SHARE,
    multiple=True,
    help="Say how long each took to a test accuracy, e.g. 90%; may be repeated.",
)
@debug_flag
def compare(run_dirs: tuple[str, ...], to_accuracy: tuple[float, ...]) -> None:
    """Show runs side by side.

    RUN_DIR is a run's directory, or a folder with runs below it, such as a sweep. The settings in
    which they differ, accuracy, consensus distance, bytes sent and time. Runs that
    differ in their seed only make one row, mean ± standard deviation (n - 1), unless you name them
    one by one and there are no others.
    """
    from p2pqg.results.alike import by_seed
    from p2pqg.results.comparison import compare as side_by_side
    from p2pqg.results.search import begun_below, find_runs, with_runs

    paths = with_runs(run_dirs, tell=tell_on_stderr)
    runs = find_runs(paths)
    for run in runs:
        if not run.is_known:
            tell_on_stderr(f"skipped {run.path}: {run.failure}")
    for begun in dict.fromkeys(begun for path in paths for begun in begun_below(path)):
        tell_on_stderr(f"skipped {begun}: it has no summary yet")
    runs = [run for run in runs if run.is_known]
    groups = by_seed(runs)
    if len(groups) == 1 and len(run_dirs) >= len(runs):
        groups = [[run] for run in runs]
    print_lines(str(side_by_side(*groups, to_accuracy=to_accuracy)).splitlines())


@main.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--out", metavar="DIR", help="Where to; default: a folder `models` in RUN_DIR.")
@debug_flag
def models(run_dir: str, out: str | None) -> None:
    """Write the models of a run for plain torch.

    As they were at its last checkpoint, with their buffers: a safetensors file for each client and
    one of the averaged model; load.py beside them says how they are loaded.
    """
    from p2pqg.results.run import Run

    run = Run(user_path(run_dir))
    click.echo(f"models: {run.save_models(out or run.path / 'models')}")


@main.command("report")
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...")
@click.option("--out", metavar="FILE", help="Where to write it; default: report.html beside them.")
@debug_flag
def report_(run_dirs: tuple[str, ...], out: str | None) -> None:
    """Write one HTML page on runs.

    The setting, curves, every client, the network and its shards, and how to run it again; several
    runs side by side. All is inside the file: it can be sent, and opened without a network.
    """
    from p2pqg.page import write_page
    from p2pqg.results.search import with_runs

    found = with_runs(run_dirs, tell=tell_on_stderr)
    click.echo(f"report: {write_page(found, out)}")


@main.command()
@click.argument("networks", nargs=-1, required=True, metavar="NAME|FILE...")
@clients_flag
@click.option(
    "--params",
    "num_params",
    type=click.IntRange(1),
    default=272_474,
    show_default=True,
    help="Size of the model that is sent; the default is a ResNet-20's.",
)
@click.option("--liars", metavar="CLIENTS", help="Who may lie, e.g. 3,20; default: any.")
@click.option(
    "--privacy",
    type=click.IntRange(0),
    is_flag=False,
    flag_value=0,
    metavar="[ROUNDS]",
    help="Who learns how much about whom in so many rounds of gossip after noise was added once.",
)
@draw_flag
@click.option("--json", "as_json", is_flag=True, help="Print the findings, and only them.")
@debug_flag
def topology(
    networks: tuple[str, ...],
    clients: int | None,
    num_params: int,
    liars: str | None,
    privacy: int | None,
    draw: Path | None,
    as_json: bool,
) -> None:
    """Examine networks before anyone trains on them.

    A drawing, degrees, spectrum, rounds to agree, bytes sent, how many liars it can bear, and which
    algorithms can run. Several make a table. What nobody could train on is described, too, and ends
    with exit code 2; --draw draws even that.
    """
    from p2pqg.base.config import plain
    from p2pqg.base.errors import TopologyError
    from p2pqg.base.text import json_text
    from p2pqg.theory import doctor, doctor_text
    from p2pqg.topology.drawing import picture

    if privacy is not None:
        from p2pqg.theory.leakage import exposure

        exposures = [exposure(name, clients, privacy or None) for name in networks]
        if as_json:
            told = [doctor_text.plain_exposure(one) for one in exposures]
            click.echo(json_text(told if len(told) > 1 else told[0]))
            return
        for one in exposures:
            print_rows(doctor_text.exposed(one))
        return
    named = [name.strip() for name in liars.split(",")] if liars else None
    found = [doctor.examine(name, clients, num_params, named) for name in networks]
    if draw:
        from p2pqg.plots import draw_networks

        draw_networks([doctor.admit(name, clients) for name in networks], draw)
    if as_json:
        plainly = [plain(one) for one in found]
        click.echo(json_text(plainly if len(found) > 1 else plainly[0]))
    elif len(found) == 1:
        lines = [] if found[0].problem else picture(doctor.admit(networks[0], clients))
        for line in lines:
            click.echo(line)
        print_rows(doctor_text.sheet(found[0]))
    else:
        print_lines(doctor_text.table(found))
    problems = [one.problem for one in found if one.problem]
    if problems:
        raise TopologyError.of(problems)


@main.command()
@click.argument("networks", nargs=-1, required=True, metavar="NAME|FILE...")
@clients_flag
@click.option("--rounds", type=click.IntRange(1), default=500, show_default=True)
@click.option("--beta", type=float, default=0.9, show_default=True, help="0: gossip.")
@click.option("--mu", type=float, default=0.9, show_default=True, help="Memory of the momentum.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the numbers to be averaged.")
@draw_flag
@debug_flag
def consensus(
    networks: tuple[str, ...],
    clients: int | None,
    rounds: int,
    beta: float,
    mu: float,
    seed: int,
    draw: Path | None,
) -> None:
    """Show how fast clients agree on a network, without learning.

    Random numbers are averaged by gossip and with quasi-global momentum (Figure 3 of the paper):
    after how many rounds is the consensus distance, mean_i |x_i - mean x|^2, a hundredth and a
    millionth of what it was?
    """
    from p2pqg.theory.consensus import average_consensus
    from p2pqg.theory.doctor import admit
    from p2pqg.theory.doctor_text import consensus_table

    paths = {}
    for name in networks:
        network = admit(name, clients)
        gossip = average_consensus(network, rounds, quasi_global=False, seed=seed)
        paths[network.name] = gossip, average_consensus(network, rounds, None, beta, mu, seed=seed)
    if draw:
        from p2pqg.plots import draw_consensus

        draw_consensus(paths, f"QG (beta {beta:g}, mu {mu:g})", draw)
    print_lines(consensus_table(paths, beta, mu))


@main.command()
@click.argument("run_dirs", nargs=-1, required=True, metavar="RUN_DIR...")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; the default: this machine only.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: one that is free.")
@click.option("--open/--no-open", "opens", default=True, help="Open it in a browser, if any.")
@debug_flag
def watch(run_dirs: tuple[str, ...], host: str, port: int, opens: bool) -> None:
    """Watch runs in a browser, while they go or once they are over.

    Their networks as they learn, with a slider through the rounds, and their curves; of many runs,
    such as a sweep's, a grid of small curves that fill in. The address has a random token in it,
    and nothing can be changed there. Ctrl-C ends it.
    """
    from p2pqg.running.watch import open_page, serving

    with serving(run_dirs, host, port) as (address, server):
        click.echo(f"watch: {address}")
        if opens:
            open_page(address)
        with suppress(KeyboardInterrupt):  # which is how it ends
            server.serve_forever()
        click.echo("watch: stopped")
