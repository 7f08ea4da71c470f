"""Which weights of a Keras network belong to which of its units, and the network without some.

A unit is what a layer computes one number of: a neuron of a Dense layer, a filter of a
convolution, a cell of an LSTM. A walk along the graph gives each unit a number and notes, for every
axis of every weight, the units its entries belong to. With these notes removing a unit is one rule
for all layers: leave out every entry of every weight that is noted for it.

Some units can only go together. What an Add sums, or what a Reshape lays side by side as one step
of a sequence, is one group; a layer without a rule here, and the model's output, need all that
feeds them. Groups are kept by union-find, and group `KEPT` is what must stay.

A sequence may lose steps where only layers look at it that take any number of them: convolutions
that keep its length, poolings, recurrent layers. Its neighbours then meet, so unlike with other
units the rest computes something else even where the lost step was all zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from converters._tensorflow import keras

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT: Final = 0
"""The group of all that must stay."""

Ids: TypeAlias = NDArray[np.intp]
# Of each axis but the batch's, the unit of each entry. A sequence's steps are no more than the
# units that they stem from: pooling leaves fewer of them.
Axes: TypeAlias = tuple[Ids, ...]

_GATES: Final = 4


@dataclass(slots=True)
class Anatomy:
    """What the walk found.

    Attributes:
        model: A functional copy of the network, weights included.
        owners: Layer name → its own units, in their order. Of a model's inputs, the features.
        weights: Layer name → for each of its weights the units of each axis.
        inputs: The units that are the model's input features.
    """

    model: Any
    owners: dict[str, Ids] = field(default_factory=dict)
    weights: dict[str, list[Axes]] = field(default_factory=dict)
    inputs: Ids = field(default_factory=lambda: np.empty(0, np.intp))
    _parents: list[int] = field(default_factory=lambda: [KEPT])

    @classmethod
    def of(cls, model: Any) -> Anatomy:
        """Walk a Keras model of one input and one output; it stays as it is."""
        functional = keras.Model(model.inputs, model.outputs, name=model.name)
        copy = keras.models.clone_model(functional)
        copy.set_weights(functional.get_weights())
        anatomy = cls(copy)
        known: dict[int, Axes] = {}
        whole = list(copy.outputs)
        for layer in copy.layers:
            whole += anatomy._visit(layer, known)
        for tensor in whole:
            anatomy.keep(*known[id(tensor)])
        return anatomy

    def new(self, count: int) -> Ids:
        """Fresh units, each a group of its own."""
        first = len(self._parents)
        self._parents += range(first, first + count)
        return np.arange(first, first + count)

    def together(self, *ids: Ids) -> None:
        """Make units that stand at the same place of several arrays one group each."""
        for units in zip(*(array.ravel().tolist() for array in ids), strict=True):
            roots = {self._root(unit) for unit in units}
            for root in roots:
                self._parents[root] = min(roots)

    def keep(self, *axes: Ids) -> None:
        """Put units among those that must stay."""
        for ids in axes:
            self.together(ids, np.zeros_like(ids))

    def groups(self, ids: Ids) -> Ids:
        """The group of each unit, named by its smallest member."""
        found = [self._root(unit) for unit in ids.ravel().tolist()]
        return np.array(found, dtype=np.intp).reshape(ids.shape)

    def removable(self) -> dict[str, Ids]:
        """Layer name → groups of its units that may go; input features are not among them."""
        layers = {}
        taken = {KEPT, *self.groups(self.inputs).tolist()}
        for name, ids in self.owners.items():
            free = [group for group in np.unique(self.groups(ids)).tolist() if group not in taken]
            taken.update(free)
            if free:
                layers[name] = np.array(free, dtype=np.intp)
        return layers

    def without(self, removed: Ids) -> Any:
        """The network without some groups of units, the other weights as they were."""
        config = self.model.get_config()
        for entry in config["layers"]:
            name = entry["config"]["name"]
            if name in self.owners:
                ids = self.owners[name]
                stay = len(ids) - int(self._gone(ids, removed).sum())
                _resize(self.model.get_layer(name), entry["config"], stay)
        smaller = keras.Model.from_config(config)
        for layer in smaller.layers:
            layer.set_weights(self._cut(layer.name, removed))
        return smaller

    def silenced(self, group: int) -> list[NDArray[np.float32]]:
        """The network's weights with all of one group's set to zero: as if it were not there."""
        silent = []
        for weight, axes in self._all_weights():
            array = weight.copy()
            for axis, ids in enumerate(axes):
                array[(slice(None),) * axis + (self._gone(ids, np.array([group])),)] = 0
            silent.append(array)
        return silent

    def unread_inputs(self) -> Ids:
        """Input features whose weights are all zero, if none of them needs to stay."""
        read = {KEPT}
        for weight, axes in self._all_weights():
            for axis, ids in enumerate(axes):
                others = tuple(other for other in range(weight.ndim) if other != axis)
                read.update(self.groups(ids[(weight != 0).any(axis=others)]).tolist())
        unread: Ids = self.inputs[~np.isin(self.groups(self.inputs), list(read))]
        return unread

    def _cut(self, name: str, removed: Ids) -> list[NDArray[np.float32]]:
        arrays = self.model.get_layer(name).get_weights()
        for number, axes in enumerate(self.weights.get(name, ())):
            for axis, ids in enumerate(axes):
                stays = np.flatnonzero(~self._gone(ids, removed))
                arrays[number] = arrays[number].take(stays, axis)
        return list(arrays)

    def _all_weights(self) -> Iterator[tuple[NDArray[np.float32], Axes]]:
        """Every weight of the model, in the order of `get_weights`, with its axes."""
        place = {
            id(weight): axes
            for layer in self.model.layers
            for weight, axes in zip(layer.weights, self.weights.get(layer.name, ()), strict=False)
        }
        for weight in self.model.weights:
            yield weight.numpy(), place.get(id(weight), ())

    def _gone(self, ids: Ids, removed: Ids) -> NDArray[np.bool_]:
        gone: NDArray[np.bool_] = np.isin(self.groups(ids), removed)
        return gone

    def _root(self, unit: int) -> int:
        while self._parents[unit] != unit:
            unit = self._parents[unit]
        return unit

    def _visit(self, layer: Any, known: dict[int, Axes]) -> list[Any]:
        """Note a layer's units, weights and outputs; return those of its inputs it needs whole."""
        if isinstance(layer, keras.layers.InputLayer):
            self.inputs = self.owners[layer.name] = self.new(layer.output.shape[-1])
            known[id(layer.output)] = (self.inputs,)
            return []
        tensors = _listed([node.keras_inputs for node in layer.inbound_nodes])
        # A layer called twice may even read itself.
        rule = _RULES.get(type(layer)) if len(layer.inbound_nodes) == 1 else None
        sources = [known[id(tensor)] for tensor in tensors] if rule else []
        given = rule(self, layer, sources) if rule else None
        for tensor in _listed([node.outputs for node in layer.inbound_nodes]):
            fixed = tuple(np.full(size or 0, KEPT, np.intp) for size in tensor.shape[1:])
            known[id(tensor)] = given or fixed
        if given is None:
            return tensors
        # A feature can only be left out where it is multiplied by a weight, and the weight is zero.
        if not isinstance(layer, keras.layers.Dense):
            for source in sources:
                self.keep(source[-1][np.isin(source[-1], self.inputs)])
        return []


def _listed(nested: Any) -> list[Any]:
    if isinstance(nested, (list, tuple)):
        return [item for part in nested for item in _listed(part)]
    return [nested]


def _resize(layer: Any, config: dict[str, Any], count: int) -> None:
    """Change a layer's configuration to fewer units; of a Reshape, to fewer steps."""
    if isinstance(layer, keras.layers.InputLayer):
        config["batch_input_shape"] = (None, count)
    elif isinstance(layer, keras.layers.Reshape):
        config["target_shape"] = (count, layer.output.shape[-1])
    else:
        config["filters" if "filters" in config else "units"] = count


def _dense(anatomy: Anatomy, layer: Any, sources: list[Axes]) -> Axes:
    (*steps, read) = sources[0]
    made = anatomy.owners[layer.name] = anatomy.new(layer.units)
    anatomy.weights[layer.name] = [(read, made), (made,)][: len(layer.weights)]
    _keep_unless_elementwise(anatomy, layer, made)
    return (*steps, made)


def _convolution(anatomy: Anatomy, layer: Any, sources: list[Axes]) -> Axes | None:
    # Grouped filters see a part of the channels each; a shorter sequence might end up empty.
    if layer.groups != 1 or layer.padding != "same" or layer.data_format != "channels_last":
        return None
    steps, read = sources[0]
    made = anatomy.owners[layer.name] = anatomy.new(layer.filters)
    taps = np.zeros(layer.kernel_size[0], np.intp)
    anatomy.weights[layer.name] = [(taps, read, made), (made,)][: len(layer.weights)]
    _keep_unless_elementwise(anatomy, layer, made)
    return (steps, made)


def _recurrent(anatomy: Anatomy, layer: Any, sources: list[Axes]) -> Axes | None:
    if layer.return_state or layer.stateful:
        return None
    steps, read = sources[0]
    made = anatomy.owners[layer.name] = anatomy.new(layer.units)
    gates = np.tile(made, _GATES)
    anatomy.weights[layer.name] = [(read, gates), (made, gates), (gates,)][: len(layer.weights)]
    return (steps, made) if layer.return_sequences else (made,)


def _normalisation(anatomy: Anatomy, layer: Any, sources: list[Axes]) -> Axes | None:
    if list(layer.axis) != [len(sources[0])]:
        return None
    anatomy.weights[layer.name] = [(sources[0][-1],)] * len(layer.weights)
    return sources[0]


def _elementwise(anatomy: Anatomy, layer: Any, sources: list[Axes]) -> Axes:
    if isinstance(layer, keras.layers.Activation):
        _keep_unless_elementwise(anatomy, layer, sources[0][-1])
    return sources[0]


def _pooling(anatomy: Anatomy, layer: Any, sources: list[Axes]) -> Axes:
    steps, channels = sources[0]
    if layer.padding != "same":
        # Of a sequence shorter than the pool nothing would be left.
        anatomy.keep(steps)
    return (steps, channels)


def _reshape(anatomy: Anatomy, layer: Any, sources: list[Axes]) -> Axes | None:
    shape = layer.output.shape[1:]
    if len(sources[0]) != 1 or len(shape) != 2:
        return None
    table = sources[0][0].reshape(shape)
    anatomy.together(*table.T)
    # Its steps are its own units: their number stands in its configuration.
    steps = anatomy.owners[layer.name] = table[:, 0]
    return (steps, np.zeros(shape[1], np.intp))


def _concatenation(_: Anatomy, layer: Any, sources: list[Axes]) -> Axes | None:
    ranks = {len(source) for source in sources}
    if ranks != {1} or layer.axis not in (-1, 1):
        return None
    return (np.concatenate([source[0] for source in sources]),)


def _sum(anatomy: Anatomy, _: Any, sources: list[Axes]) -> Axes | None:
    # A part that stands for all units at once would be repeated along an axis.
    if len({tuple(map(len, source)) for source in sources}) != 1:
        return None
    for axis in zip(*sources, strict=True):
        anatomy.together(*axis)
    return sources[0]


def _keep_unless_elementwise(anatomy: Anatomy, layer: Any, ids: Ids) -> None:
    """A softmax divides by the sum over all units: each of them counts for the others."""
    if layer.activation is keras.activations.softmax:
        anatomy.keep(ids)


_RULES: Final[dict[type, Callable[[Anatomy, Any, list[Axes]], Axes | None]]] = {
    keras.layers.Dense: _dense,
    keras.layers.Conv1D: _convolution,
    keras.layers.LSTM: _recurrent,
    keras.layers.BatchNormalization: _normalisation,
    keras.layers.ReLU: _elementwise,
    keras.layers.Activation: _elementwise,
    keras.layers.Dropout: _elementwise,
    keras.layers.MaxPooling1D: _pooling,
    keras.layers.Reshape: _reshape,
    keras.layers.Concatenate: _concatenation,
    keras.layers.Add: _sum,
    keras.layers.Subtract: _sum,
}
