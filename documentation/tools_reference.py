"""Generates the page of the tools for agents from what the server tells its clients."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from documentation.api_reference import schema_text
from documentation.tables import paragraphs
from stemyard_mcp.callers import Callers
from stemyard_mcp.files import Files
from stemyard_mcp.server import mcp_server
from stemyard_mcp.tools import SCOPES

_HEAD: Final = """# Reference of the tools for agents

<!-- Generated from stemyard_mcp by `make generate`. Do not edit. -->

Every tool of `stemyard mcp`, as the server describes it to its clients (`tools/list`). How to start it and whose key it
uses: [tools for agents](../17-command-line.md#tools-for-agents). A tool may do what its API key may: without the scope
it fails with the API's sentence.
"""
_RESULTS: Final = "\n## Results\n\nEach is the structured content of a tool's result, and the same as JSON in a text.\n"


def tools_reference() -> str:
    """Return the page, in Markdown."""
    server = mcp_server(Callers("https://stems.example.org"), Files(True))
    tools = sorted(asyncio.run(server.list_tools()), key=lambda tool: tool.name)
    results: dict[str, dict[str, Any]] = {}
    parts = [_HEAD]
    for tool in tools:
        result = tool.output_schema or {}
        results |= {result["title"]: result, **result.get("$defs", {})}
        parts += _tool(tool, result["title"])
    parts.append(_RESULTS)
    for name, schema in sorted(results.items()):
        parts += [f"\n### {name}\n", *schema_text(schema)]
    return "".join(parts)


def _tool(tool: Any, result: str) -> Iterator[str]:  # noqa: ANN401 - the package's own type
    scope = SCOPES[tool.name]
    yield f"\n## Tool {tool.name}\n\n{paragraphs(tool.description)}\n\n"
    yield f"- scope of the key: {f'`{scope}`' if scope else 'any'}\n- result: [{result}](#{result.lower()})\n"
    hints = tool.annotations
    if hints.read_only_hint:
        yield "- it only reads\n"
    elif hints.destructive_hint:
        yield "- it can end work in progress\n"
    yield from schema_text({name: part for name, part in tool.input_schema.items() if name != "description"})
