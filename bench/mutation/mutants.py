"""Makes mutants of a module: copies that each differ in one operator, constant or statement. Pure."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Final

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}
_OPPOSITES: Final = {"max": "min", "min": "max", "any": "all", "all": "any"}
_NORMALISERS: Final = frozenset({"casefold", "lower", "strip", "title", "total_seconds"})
"""Methods without arguments whose call is replaced by what they are called on."""
_UNTOUCHED: Final = frozenset({"annotation", "returns", "decorator_list", "type_params"})
"""Fields that do not act at run time."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed copy of a module.

    Attributes:
        scope: qualified name of the function or class, empty for the module.
        before: the changed expression or statement, as code on one line.
        after: what it is in the mutant.
        code: the compiled mutant.
    """

    scope: str
    before: str
    after: str
    code: CodeType


@dataclass(frozen=True, slots=True)
class _Site:
    scope: str
    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants_of(source: str, path: str) -> list[Mutant]:
    """Return all mutants of a module's source, in the order of the source."""
    tree = ast.parse(source)
    found = []
    for site in list(_sites(tree, "")):
        for replacement in _replacements(site.node):
            site.put(ast.copy_location(replacement, site.node))
            code = compile(ast.fix_missing_locations(tree), path, "exec")
            site.put(site.node)
            found.append(Mutant(site.scope, _text(site.node), _text(replacement), code))
    return found


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _sites(parent: ast.AST, scope: str) -> Iterator[_Site]:
    for field, value in ast.iter_fields(parent):
        if field in _UNTOUCHED or isinstance(parent, ast.Raise | ast.Assert):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _is_docstring(node):
                continue
            inner = scope
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{scope}.{node.name}".lstrip(".")
            yield _Site(inner, parent, field, index, node)
            yield from _sites(node, inner)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Constant():
            yield from _other_constant(node.value)
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            yield ast.Compare(node.left, [_COMPARISONS[type(operator)]()], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            yield node.values[0] if len(node.values) == 2 else ast.BoolOp(node.op, node.values[:-1])
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        case ast.Call():
            yield from _other_call(node)
        case _:
            yield from _other_flow(node)


def _other_flow(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.IfExp():
            yield ast.IfExp(node.test, node.orelse, node.body)
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call()):
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()


def _other_constant(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant(f"xx{value}")


def _other_call(node: ast.Call) -> Iterator[ast.AST]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in _OPPOSITES:
            yield ast.Call(ast.Name(_OPPOSITES[name], ast.Load()), node.args, node.keywords)
        case ast.Call(func=ast.Name(id="sorted"), args=[first, *_]):
            yield ast.Call(ast.Name("list", ast.Load()), [first], [])
        case ast.Call(func=ast.Attribute(attr="normalize"), args=[_, text]):
            yield text
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=[]) if name in _NORMALISERS:
            yield value
