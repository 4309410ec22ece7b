"""``stagewright profile --network``: bandwidth and latency between ranks, into a cluster.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stagewright.model.errors import InputError

if TYPE_CHECKING:
    from stagewright.model.cluster_file import ClusterText
    from stagewright.profile.link_document import LinkRequest, MeasuredLink

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Network:
    """The options of :func:`network_options`."""

    network: bool
    cluster: str | None
    cores: tuple[int, ...] | None


class Cores(click.ParamType[tuple[int, ...]]):
    """Cores by their numbers, separated by commas; each once, two at least."""

    name = "CORE,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Turn ``0,1`` into (0, 1)."""
        if isinstance(value, tuple):
            return value
        words = str(value).split(",")
        if not all(x.strip().isascii() and x.strip().isdigit() and len(x) < 9 for x in words):
            self.fail(f"'{value}' is not a list of cores, such as 0,1", param, ctx)
        found = tuple(int(x) for x in words)
        if len(set(found)) != len(found) or len(found) < 2:
            self.fail(f"'{value}' does not name two or more different cores", param, ctx)
        return found


def network_options(function: Function) -> Function:
    """Add the options that measure links instead of a network's layers."""
    for decorate in reversed(
        (
            click.option(
                "--network",
                is_flag=True,
                help="Measure bandwidth and latency between ranks instead: gloo, with --device "
                "cuda nccl. Starts two processes here; started by torchrun, between its ranks.",
            ),
            click.option(
                "--cluster",
                type=click.Path(),
                metavar="FILE",
                help="With --network: cluster.yaml that gets the measured links; -o says where it "
                "is written (the same file will do; comments are not kept).",
            ),
            click.option(
                "--cores",
                type=Cores(),
                help="With --network: core of each rank of this machine, such as 0,1, where each "
                "core stands for a GPU.  [default: wherever they are put]",
            ),
        )
    ):
        function = decorate(function)
    return function


def measure_network(
    options: Network, device: str, repeats: int, warm_up: int, output: str | None, as_json: bool
) -> None:
    """Measure, write the cluster file and print what was found; only the first rank reports.

    Raises
    ------
    InputError
        If options contradict each other, or the cluster is not the one that was measured.
    """
    request = _request(options, device, repeats, warm_up)
    if (options.cluster is None) != (output is None):
        raise InputError(
            "--cluster names the cluster.yaml that gets the links and -o where it is written; "
            "name both, or neither to look at the figures"
        )
    from stagewright.profile.link_launch import is_first_rank, measure_links

    stated = None if options.cluster is None else _stated(Path(options.cluster))
    links = measure_links(request)
    if not is_first_rank():
        return
    written = []
    if stated is not None and output is not None:
        written = _write(stated, links, Path(output), source=str(options.cluster))
    if as_json:
        found = [x.model_dump() for x in links]
        click.echo(json.dumps({"links": found, "files": [str(x) for x in written]}, indent=1))
        return
    names = None if stated is None else [x.name for x in stated.servers]
    for link in links:
        click.echo(_line(link, names))
    if written:
        click.echo(f"Written: {written[0]}")


def _request(options: Network, device: str, repeats: int, warm_up: int) -> LinkRequest:
    from stagewright.profile.link_document import LinkRequest

    if device not in {"cpu", "cuda"}:
        raise InputError(
            f"--network takes --device cpu or cuda, not '{device}'; ranks have a GPU each"
        )
    return LinkRequest.model_validate(
        {"device": device, "repeats": repeats, "warm_up": warm_up, "cores": options.cores or ()}
    )


def _stated(path: Path) -> ClusterText:
    from stagewright.model.cluster_file import parse_cluster_yaml
    from stagewright.model.files import read_text

    return parse_cluster_yaml(read_text(path, "cluster file"), path)


def _write(
    stated: ClusterText, links: Sequence[MeasuredLink], output: Path, source: str
) -> list[Path]:
    """Write the cluster with the measured links in it.

    Raises
    ------
    InputError
        If there are other servers than ranks were started on, or the file cannot be written.
    """
    from stagewright.model.files import write_files
    from stagewright.model.measured_links import Link, format_cluster_yaml, with_links

    names = [server.name for server in stated.servers]
    measured = 1 + max(max(x.servers) for x in links)
    if measured != len(names):
        raise InputError(
            f"the cluster has {len(names)} servers, measured were {measured}",
            source=source,
            hint="Start a rank on each server with torchrun, in the order of the file",
        )
    found = [(x.servers, Link(x.latency_s, x.bandwidth_bytes_per_s)) for x in links]
    updated = with_links(
        stated,
        inside={names[s]: link for (s, t), link in found if s == t},
        between={(names[s], names[t]): link for (s, t), link in found if s != t},
    )
    return write_files(output.parent, {output.name: format_cluster_yaml(updated)})


def _line(link: MeasuredLink, names: Sequence[str] | None) -> str:
    """Say what a link can do: ``Inside Server0 (gloo): 1.17 GB/s, 216 µs a message; …``."""
    s, t = (f"server {k}" if names is None else names[k] for k in link.servers)
    place = f"Inside {s}" if link.servers[0] == link.servers[1] else f"{s} to {t}"
    text = (
        f"{place} ({link.backend}): {link.bandwidth_bytes_per_s / 1e9:.3g} GB/s, "
        f"{1e6 * link.latency_s:.0f} µs a message; the times of {len(link.times)} sizes lie within "
        f"{100 * link.deviation:.0f} % of that"
    )
    if link.all_reduce_bytes_per_s is not None:
        text += f". An all-reduce moves its bytes at {link.all_reduce_bytes_per_s / 1e9:.3g} GB/s"
    return f"{text}."
