"""One measurement from the request to the document, in the process that runs the user's code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from stagewright.model.errors import NetworkError
from stagewright.model.profile_document import Measurement, ProfileDocument
from stagewright.profile import assemble
from stagewright.profile.capture import SEED, Captured, agree, capture
from stagewright.profile.clocks import Clock, clock_for
from stagewright.profile.counting import count
from stagewright.profile.leaves import Leaves
from stagewright.profile.machine import describe_device, find_device, versions
from stagewright.profile.measure import Correction, Plan, calibrate, measure
from stagewright.profile.network import output_gradients, quiet_dropout, run_network
from stagewright.profile.nodes import Nodes, make_nodes
from stagewright.profile.recording import Recording
from stagewright.profile.request import Note, Progress, Request
from stagewright.profile.user_code import make_input, make_network
from stagewright.profile.values import as_loaded, features, is_data, is_sparse, mapped, resettled


class Measuring:
    """One measurement.

    Parameters
    ----------
    request
        What to measure.
    send
        Hears notes and progress.
    """

    def __init__(self, request: Request, send: Callable[[Note | Progress], object]) -> None:
        self.request = request
        self.send = send
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        self.device = find_device(request.device)
        torch.manual_seed(request.seed)
        np.random.seed(request.seed % 2**32)  # noqa: NPY002 - what the user's code may draw from
        model = make_network(request.model, request.arguments)
        self.model = self._placed(model)
        self.model.train()

    def document(self) -> ProfileDocument:
        """Measure, and return everything."""
        first = self._inputs(0)
        captured = capture(self.model, first, Leaves(self.request.layers), self._tell)
        nodes = make_nodes(captured.recording, captured.values)
        self._report(nodes)
        clock = clock_for(self.device, shared_core=self.request.shared_core)
        correction = calibrate(clock, self.device)
        runs = [
            self._minibatch(k, captured, nodes, clock, correction)
            for k in range(self.request.minibatches)
        ]
        found = assemble.document_nodes(nodes.nodes, runs)
        return ProfileDocument(
            schema="stagewright.profile/1",
            model=self.request.model,
            input=self.request.input,
            arguments=self.request.arguments,
            input_arguments=self.request.input_arguments,
            device=describe_device(self.device),
            versions=versions(),
            precision=_precision(self.model),
            batch=runs[0].batch,
            inputs=tuple(run.inputs for run in runs),
            measurement=Measurement(
                capture=captured.means,
                clock=clock.name,
                warm_up=self.request.warm_up,
                repeats=self.request.repeats,
                minibatches=self.request.minibatches,
                overhead_forward_ms=correction.forward_ms,
                overhead_backward_ms=correction.backward_ms,
            ),
            step=assemble.whole_step(found, runs),
            nodes=found,
            edges=tuple((u, x.id) for x in nodes.nodes for u in x.operands),
            shared=nodes.shared,
        )

    def _tell(self, text: str) -> None:
        self.send(Note(text=text))

    def _report(self, nodes: Nodes) -> None:
        """Say what the written code will not be able to do."""
        strange = [x for x in nodes.nodes if x.problem]
        for node in strange[:5]:
            self._tell(
                f"no code can be written from {node.id} '{node.description}' ({node.name}): "
                f"{node.problem}"
            )
        if len(strange) > 5:
            self._tell(f"and {len(strange) - 5} more layers of that kind")
        for group in nodes.shared:
            self._tell(f"{', '.join(group)} share weights; a plan keeps them in one stage")

    def _minibatch(
        self, number: int, captured: Captured, nodes: Nodes, clock: Clock, correction: Correction
    ) -> assemble.Minibatch:
        inputs = self._inputs(number)
        values = self._values(captured.recording, inputs)
        sizes = assemble.activations(nodes.nodes, values)
        given = output_gradients(captured.recording.results(values))
        counts = count(captured.recording, mapped(inputs, as_loaded), values, given)
        del values
        self.model.zero_grad(set_to_none=True)
        times = measure(
            self.model,
            captured.recording,
            inputs,
            Plan(self.request.warm_up, self.request.repeats),
            clock,
            correction,
            lambda done, total: self._progress(number, done, total),
        )
        return assemble.Minibatch(
            assemble.describe_inputs(inputs),
            assemble.batch_size(inputs),
            sizes,
            times,
            tuple(counts),
        )

    def _values(self, recording: Recording, inputs: Any) -> list[Any]:
        """Run the recording on a minibatch other than the one that it was made from."""
        with quiet_dropout(self.model):
            torch.manual_seed(SEED)
            expected = run_network(self.model, mapped(inputs, as_loaded))
            torch.manual_seed(SEED)
            try:
                values = recording.replay(mapped(inputs, as_loaded))
            except Exception as error:
                text = " ".join(str(error).split())[:200]
                raise _other_layers(f"do not run on another: {text}") from error
        outputs = recording.results(values)
        if not all(agree(x, y) for x, y in zip(expected, outputs, strict=True)):
            raise _other_layers("compute something else on another")
        return values

    def _progress(self, minibatch: int, done: int, total: int) -> None:
        self.send(
            Progress(
                what="measuring",
                done=minibatch * total + done,
                total=self.request.minibatches * total,
            )
        )

    def _inputs(self, number: int) -> Any:
        made = make_input(self.request.input, self.request.input_arguments, number)
        return mapped(made, self._moved)

    def _moved(self, value: Any) -> Any:
        """Bring an input to the device and, if it is a number with a point, to the precision."""
        if not is_data(value):
            return value
        rows = features(value).detach().to(self.device)
        if rows.is_floating_point() and self.request.precision != "as-made":
            rows = rows.to(getattr(torch, self.request.precision))
        if is_sparse(value):
            return resettled(value, rows, value.C.to(self.device))
        return rows

    def _placed(self, model: nn.Module) -> nn.Module:
        if self.request.precision != "as-made":
            model = model.to(getattr(torch, self.request.precision))
        return model.to(self.device)


def _other_layers(what: str) -> NetworkError:
    return NetworkError(
        f"the layers found on the first minibatch {what}",
        hint="A layer graph is the same for every minibatch; give minibatches of one shape, or "
        "name the class of the module that is not the same with --layer",
    )


def _precision(model: nn.Module) -> str:
    first = next((x.dtype for x in model.parameters() if x.is_floating_point()), torch.float32)
    return str(first).removeprefix("torch.")
