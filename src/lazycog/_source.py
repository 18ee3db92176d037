"""The lazy source: as a Dask array, optimised, and known by its name."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import dask.array
import dask.base
from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    List,
    Task,
    TaskRef,
    convert_legacy_graph,
)
from dask.array.optimization import optimize
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lazycog._plan import CogPlan


def as_lazy(pixels: object, plan: CogPlan | None = None) -> dask.array.Array:
    """Turn a NumPy array into a Dask array; leave a Dask array as it is."""
    if isinstance(pixels, dask.array.Array):
        return pixels
    side = plan.stages[0].chunk_size if plan else "auto"
    # name=False: hashing the pixels would read them all
    return dask.array.from_array(pixels, chunks=(-1, side, side), name=False)


def optimised(arrays: Sequence[Any]) -> list[Any]:
    """Optimise Dask arrays together, so that what they share stays one task.

    Their graphs then hold tasks of today's kind, and futures.

    ``dask.optimize`` takes one array after the other, and fuses what they share into
    each of them.
    """
    graph = HighLevelGraph.merge(*(array.__dask_graph__() for array in arrays))
    keys = [list(flatten(array.__dask_keys__())) for array in arrays]
    every = list(itertools.chain.from_iterable(keys))
    whole = convert_legacy_graph(dict(optimize(graph, every)))
    whole |= _futures(graph, whole, every)
    result = []
    for array, own in zip(arrays, keys, strict=True):
        needed = _needed(whole, own)
        layer = MaterializedLayer(needed)
        alone = HighLevelGraph({array.name: layer}, {array.name: set()})
        result.append(
            dask.array.Array(alone, array.name, array.chunks, meta=array._meta)  # noqa: SLF001 - its public way is dtype alone
        )
    return result


def _futures(
    graph: HighLevelGraph, optimised: Mapping[Any, Any], keys: Sequence[Any]
) -> dict[Any, Any]:
    """Give what lies on workers already, which Dask takes for granted from there on.

    Nobody else may hold it when a lazy write is computed.
    """
    needed = set(keys).union(*map(dependencies, optimised.values()))
    lost = needed.difference(optimised)
    if not lost:
        return {}
    held = {each.key: each for each in _held(list(graph.to_dict().values()))}
    return {key: held[key] for key in lost if key in held}


def _held(value: object) -> Iterator[TaskRef]:
    """Find futures in tasks of every kind; what merely refers to a task is none."""
    if isinstance(value, TaskRef):
        if type(value) is not TaskRef:
            yield value
        return
    if isinstance(value, Task):
        value = [*value.args, *value.kwargs.values()]
    elif isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        for each in value:
            yield from _held(each)


def _needed(graph: Mapping[Any, Any], keys: Sequence[Any]) -> dict[Any, Any]:
    """Leave out what the keys do not need; Dask's `cull` knows no futures."""
    needed: dict[Any, Any] = {}
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in graph and key not in needed:
            needed[key] = graph[key]
            waiting.extend(dependencies(graph[key]))
    return needed


def renamed(source: Mapping[Any, Any], token: str) -> dict[Any, Any]:
    """Give tasks that are about to change keys that no other graph has: old to new.

    A cluster takes tasks of the same key for the same task: one that waits for a write
    would fail with it, in every other write of the same array.

    Nothing is renamed where a task is of a kind of its own, as those of a rechunk
    between workers: the scheduler knows them by their keys.
    """
    nodes = {
        key: node
        for key, node in source.items()
        if isinstance(node, GraphNode) and not isinstance(node, DataNode)
    }
    if not {type(node) for node in nodes.values()} <= {Task, Alias, List}:
        return {}
    return {key: _renamed(key, token) for key in nodes}


def _renamed(key: Any, token: str) -> Any:  # noqa: ANN401 - any key
    if isinstance(key, tuple) and isinstance(key[0], str):
        return (own_name(key[0], token), *key[1:])
    return own_name(key, token) if isinstance(key, str) else (token, key)


def own_name(name: str, token: str) -> str:
    """Name an array whose tasks are :func:`renamed`."""
    return f"{name}-{token}"


def dependencies(task: object) -> frozenset[Any]:
    """Give what a task needs; what lies on workers already needs nothing."""
    return task.dependencies if isinstance(task, GraphNode) else frozenset()


def sharing(arrays: Sequence[Any]) -> list[int]:
    """Group optimised arrays that share tasks: a number for each, from 0.

    Examples
    --------
    >>> base = dask.array.ones((4, 8), chunks=(2, 8)).map_blocks(abs)
    >>> sharing(optimised([base[0], base[1], base[2], base[3]]))
    [0, 0, 1, 1]
    """
    owner: dict[Any, int] = {}
    groups: list[int] = []
    for array in arrays:
        graph = dict(array.__dask_graph__())
        tasks = [key for key, task in graph.items() if isinstance(task, Task)]
        met = {owner[key] for key in tasks if key in owner}
        own = min(met) if met else max(groups, default=-1) + 1
        # groups that turn out to be one are numbered as the first of them
        groups = [own if each in met else each for each in groups] + [own]
        owner = {key: own if each in met else each for key, each in owner.items()}
        owner |= dict.fromkeys(tasks, own)
    numbers = {each: index for index, each in enumerate(dict.fromkeys(groups))}
    return [numbers[each] for each in groups]


def source_token(pixels: object) -> str:
    """Name the source: the same for the same pixels, as far as Dask knows."""
    if isinstance(pixels, dask.array.Array):
        return str(pixels.name)
    return str(dask.base.tokenize(pixels))
