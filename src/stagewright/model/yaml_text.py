"""Strict YAML: no objects, no aliases, no key twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stagewright.model.errors import InputError


class _Loader(yaml.SafeLoader):
    """YAML without arbitrary objects, without aliases, and without a key given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse an alias: a few of them can stand for more than memory holds."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a repeated key: one of its values would be lost silently."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str, source: Path) -> Any:
    """Return what a YAML text says.

    Raises
    ------
    InputError
        With ``source`` and the line, where it is known.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise InputError(
            f"not valid YAML: {error.problem}",
            source=source,
            line=None if mark is None else mark.line + 1,
        ) from None
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:
        # PyYAML lets some malformed scalars (`!!bool maybe`) out as plain Python errors.
        raise InputError(f"not valid YAML: {error}", source=source) from None
