"""A pickle read as data: nothing that it names is looked up, imported or called.

A pickle is a program for a stack machine (Python, `pickletools`). This one knows only the
operations that PyTorch writes, and where a pickle would call something it notes the call instead.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from training.errors import WeightsError

MAX_OPERATIONS: Final = 1_000_000
"""A state dict of DenseNet121 takes 26,000, a whole module 70,000; a bomb is cut here."""

_QUOTED_AT_MOST: Final = 80

ALLOWED: Final = frozenset(
    """
    collections.OrderedDict builtins.set __builtin__.set
    torch.FloatStorage torch.DoubleStorage torch.HalfStorage torch.LongStorage
    torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2 torch._utils._rebuild_parameter
    torch.nn.backends.thnn._get_thnn_function_backend
    torch.nn.modules.activation.ReLU torch.nn.modules.activation.Sigmoid
    torch.nn.modules.batchnorm.BatchNorm2d torch.nn.modules.container.Sequential
    torch.nn.modules.conv.Conv2d torch.nn.modules.linear.Linear
    torch.nn.modules.pooling.AvgPool2d torch.nn.modules.pooling.MaxPool2d
    torchxrayvision.models.DenseNet torchxrayvision.models._DenseBlock
    torchxrayvision.models._DenseLayer torchxrayvision.models._Transition
    numpy.dtype numpy.core.multiarray.scalar numpy._core.multiarray.scalar _codecs.encode
    """.split()
)
"""What weights of the known kinds name; the last line stands for numbers beside the weights."""


@dataclass(frozen=True)
class Named:
    """A name that the pickle would have imported."""

    name: str


@dataclass(eq=False)
class Made:
    """What the pickle would have made by calling `name` with `args`; `state` came after."""

    name: str
    args: tuple[Any, ...]
    state: Any = None


def read_pickle(file: BinaryIO, load_persistent: Callable[[Any], Any]) -> Any:
    """Return one pickle's content, made of dict, list, tuple, str, numbers, Named and Made.

    Reads from the position of `file` to the end of the pickle. `load_persistent` gets what the
    pickle says of an object stored outside of it. Raises WeightsError for a name that is not
    ALLOWED, an operation that PyTorch does not write, and damage.
    """
    machine = _Machine(load_persistent)
    try:
        for operation, argument, _ in pickletools.genops(file):
            machine.step(operation.name, argument)
        return machine.pop()
    except WeightsError:
        raise
    except Exception as error:  # damage leads to whatever the step at hand raises
        raise WeightsError(f"The pickle is damaged ({type(error).__name__}: {error}).") from error


class _Machine:
    """Stack, marks and memo of the pickle machine."""

    def __init__(self, load_persistent: Callable[[Any], Any]) -> None:
        self._load_persistent = load_persistent
        self._steps = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def step(self, operation: str, argument: Any) -> None:
        """Carry out one operation."""
        self._steps += 1
        if self._steps > MAX_OPERATIONS:
            raise WeightsError(f"The pickle has more than {MAX_OPERATIONS} operations.")
        if operation in _PUSH_ARGUMENT:
            self._stack.append(argument)
        elif operation in _PUSH:
            self._stack.append(_PUSH[operation]())
        elif operation in _TUPLE_SIZES:
            items = [self.pop() for _ in range(_TUPLE_SIZES[operation])]
            self._stack.append(tuple(reversed(items)))
        elif operation in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            place = len(self._memo) if operation == "MEMOIZE" else argument
            self._memo[place] = self._stack[-1]
        elif operation in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif operation not in ("PROTO", "FRAME", "STOP"):
            self._step_compound(operation, argument)

    def pop(self) -> Any:
        """Take the top of the stack, which must lie above the last mark."""
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise ValueError("nothing above the mark")
        return self._stack.pop()

    def _step_compound(self, operation: str, argument: Any) -> None:
        match operation:
            case "MARK":
                self._marks.append(len(self._stack))
            case "TUPLE":
                self._stack.append(tuple(self._pop_to_mark()))
            case "APPEND" | "APPENDS":
                items = [self.pop()] if operation == "APPEND" else self._pop_to_mark()
                self._top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._pop_to_mark() if operation == "SETITEMS" else self._pop_pair()
                self._set_items(items)
            case "GLOBAL":
                self._stack.append(_allow(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                # Joins text only: to print what is nested in itself could take for ever.
                self._stack.append(_allow(".".join(self._pop_pair())))
            case "REDUCE" | "NEWOBJ":
                self._call(*self._pop_pair())
            case "BUILD":
                self._build(self.pop())
            case "BINPERSID":
                self._stack.append(self._load_persistent(self.pop()))
            case _:
                said = f"{operation} {argument or ''}".strip()[:_QUOTED_AT_MOST]
                raise WeightsError(f"The pickle says {said!r}, which PyTorch does not write.")

    def _pop_to_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _pop_pair(self) -> list[Any]:
        second = self.pop()
        return [self.pop(), second]

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise TypeError(f"a {kind.__name__} is needed")
        return self._stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        # Only keys whose hash costs nothing: that of a tuple of tuples can take for ever.
        if len(items) % 2 or not all(isinstance(key, str | int) for key in items[::2]):
            raise TypeError("a key is neither text nor a whole number")
        self._top(dict).update(zip(items[::2], items[1::2], strict=True))

    def _call(self, called: Any, args: Any) -> None:
        if not (isinstance(called, Named) and isinstance(args, tuple)):
            raise TypeError("a call of something that has no name")
        ordered = called.name == "collections.OrderedDict" and not args
        self._stack.append({} if ordered else Made(called.name, args))

    def _build(self, state: Any) -> None:
        # On a dict it is the metadata that a state dict carries, which weights do not need.
        if isinstance(self._stack[-1], dict):
            return
        self._top(Made).state = state


_PUSH_ARGUMENT: Final = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE".split()
)
_PUSH: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLE_SIZES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _allow(name: str) -> Named:
    if name not in ALLOWED:
        raise WeightsError(
            f"The file would run {name!r}, which no weights of these kinds need. It was not run; "
            "do not open this file with anything else."
        )
    return Named(name)
