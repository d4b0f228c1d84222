"""YAML in which no mapping names a key twice: PyYAML keeps the last value and says nothing."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError


def load_yaml(text: str) -> Any:
    """The value of a YAML text, of plain types alone.

    Raises:
        yaml.YAMLError: it is not YAML, names a type of Python's, or a mapping names a key twice.
    """
    return yaml.load(text, Loader=_StrictLoader)


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which makes no objects of Python's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value if isinstance(key, yaml.ScalarNode) else str(key.start_mark))
            if name in seen:
                problem = f"`{name[1][:60]}` appears twice"
                raise ConstructorError(None, None, problem, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
