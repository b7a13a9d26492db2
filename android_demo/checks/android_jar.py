"""Writes an android.jar to compile against: the public API of one level, from its published signature file.

The signature file (AOSP's api/current.txt) names every public class, method and field. Here each becomes a class
file with that name, its types and its constants, and without code: enough for a compiler, and no use for anything
else. Source of the format: "Signature format: 2.0" of AOSP's metalava; of class files: JVMS chapter 4.
"""

from __future__ import annotations

import ast
import re
import struct
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

JAVA_8 = 52
PUBLIC, PROTECTED, STATIC, FINAL, SUPER, VARARGS = 0x1, 0x4, 0x8, 0x10, 0x20, 0x80
INTERFACE, ABSTRACT, ANNOTATION, ENUM = 0x200, 0x400, 0x2000, 0x4000
MODIFIERS = {
    "public": PUBLIC,
    "protected": PROTECTED,
    "static": STATIC,
    "final": FINAL,
    "synchronized": 0x20,
    "volatile": 0x40,
    "transient": 0x80,
    "native": 0x100,
    "abstract": ABSTRACT,
    "strictfp": 0,
    "default": 0,
    "sealed": 0,
}
PRIMITIVES = dict(
    zip("void boolean byte char short int long float double".split(), "VZBCSIJFD", strict=True)  # noqa: SIM905
)
KINDS = {"class": 0, "interface": INTERFACE | ABSTRACT, "enum": ENUM, "@interface": INTERFACE | ABSTRACT | ANNOTATION}
# javac writes calls to this class for a lambda; it is no part of the API, for D8 takes the calls out again.
LAMBDA = """package java.lang.invoke {
  public class LambdaMetafactory {
    method public static java.lang.invoke.CallSite metafactory(java.lang.invoke.MethodHandles.Lookup, String, java.lang.invoke.MethodType, java.lang.invoke.MethodType, java.lang.invoke.MethodHandle, java.lang.invoke.MethodType) throws java.lang.invoke.LambdaConversionException;
    method public static java.lang.invoke.CallSite altMetafactory(java.lang.invoke.MethodHandles.Lookup, String, java.lang.invoke.MethodType, java.lang.Object...) throws java.lang.invoke.LambdaConversionException;
  }
  public class LambdaConversionException extends java.lang.Exception {
  }
}
"""  # noqa: E501


@dataclass
class Declared:
    """One class of the signature file. `name` is dotted, without its package: `Map.Entry`."""

    package: str
    name: str
    kind: str
    flags: int
    parameters: str
    supertypes: list[str]
    interfaces: list[str]
    members: list[str] = field(default_factory=list)

    @property
    def dotted(self) -> str:
        return f"{self.package}.{self.name}"

    @property
    def binary(self) -> str:
        return f"{self.package.replace('.', '/')}/{self.name.replace('.', '$')}"

    @property
    def outer(self) -> str | None:
        return self.dotted.rpartition(".")[0] if "." in self.name else None


def parse(text: str) -> dict[str, Declared]:
    """Every class by its dotted name."""
    result: dict[str, Declared] = {}
    package, current = "", None
    for line in text.splitlines():
        if line.startswith("package "):
            package = line.removeprefix("package ").split(" ")[0]
        elif line.startswith("    ") and current is not None:
            current.members.append(_without_annotations(line.strip().split("; //")[0].rstrip(";")))
        elif line.startswith("  ") and line.endswith("{"):
            current = _class(package, _without_annotations(line.strip()[:-1].strip()))
            result[current.dotted] = current
    return result


def _class(package: str, header: str) -> Declared:
    words = _split(header, " ")
    flags = 0
    while words[0] not in KINDS:
        flags |= MODIFIERS[words.pop(0)]
    kind = words.pop(0)
    name, _, parameters = words.pop(0).partition("<")
    supertypes: list[str] = []
    interfaces: list[str] = []
    into = supertypes
    for word in words:
        if word in ("extends", "implements"):
            into = interfaces if word == "implements" or "interface" in kind else supertypes
        else:
            into.append(word)
    return Declared(package, name, kind, flags | KINDS[kind], parameters.removesuffix(">"), supertypes, interfaces)


def _without_annotations(text: str) -> str:
    """`text` without `@Name` and `@Name(…)`, but with `@interface`."""
    result, at = [], 0
    while at < len(text):
        if text[at] == '"':
            end = _end_of_string(text, at)
            result.append(text[at:end])
            at = end
        elif text[at] == "@" and not text.startswith("@interface", at):
            at = re.compile(r"@[\w.]+").match(text, at).end()
            if text[at : at + 1] == "(":
                at = _end_of_group(text, at, "(", ")")
            while text[at : at + 1] == " ":
                at += 1
        else:
            result.append(text[at])
            at += 1
    return "".join(result)


def _end_of_string(text: str, at: int) -> int:
    at += 1
    while text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _end_of_group(text: str, at: int, opening: str, closing: str) -> int:
    depth = 0
    while True:
        if text[at] == '"':
            at = _end_of_string(text, at)
            continue
        depth += (text[at] == opening) - (text[at] == closing)
        at += 1
        if depth == 0:
            return at


def _split(text: str, separator: str) -> list[str]:
    """Parts between separators that stand outside angle brackets."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "<") - (character == ">")
        if character == separator and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


class Types:
    """Descriptors and generic signatures of written types, seen from one class and one method."""

    def __init__(self, classes: dict[str, Declared], parameter_lists: list[str]):
        self._classes = classes
        self._bounds: dict[str, list[str]] = {}
        for parameters in parameter_lists:
            for parameter in _split(parameters, ","):
                name, _, bounds = parameter.partition(" extends ")
                self._bounds[name] = [bound.strip() for bound in bounds.split("&")] if bounds else ["java.lang.Object"]

    def binary(self, name: str) -> str:
        for dotted in (name, f"java.lang.{name}"):
            if dotted in self._classes:
                return self._classes[dotted].binary
        parts = name.split(".")
        first_class = next((i for i, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
        package = parts[:first_class] or ["java", "lang"]
        return "/".join([*package, "$".join(parts[first_class:])])

    def erased(self, text: str) -> str:
        text, arrays = _arrays(text)
        if text in PRIMITIVES:
            return arrays + PRIMITIVES[text]
        plain = re.sub(r"<.*>", "", text) if text.count("<") == 1 else _strip_arguments(text)
        if plain in self._bounds:
            return arrays + self.erased(self._bounds[plain][0])
        return f"{arrays}L{self.binary(plain)};"

    def signature(self, text: str) -> str:
        text, arrays = _arrays(text)
        if text in PRIMITIVES:
            return arrays + PRIMITIVES[text]
        if text == "?":
            return "*"
        for word, sign in (("? extends ", "+"), ("? super ", "-")):
            if text.startswith(word):
                return sign + self.signature(text.removeprefix(word))
        if text in self._bounds:
            return f"{arrays}T{text};"
        if "<" not in text:
            return f"{arrays}L{self.binary(text)};"
        start = text.index("<")
        end = _end_of_group(text, start, "<", ">")
        arguments = "".join(self.signature(part) for part in _split(text[start + 1 : end - 1], ","))
        result = f"{arrays}L{self.binary(text[:start])}<{arguments}>"
        for inner in _split(text[end:].lstrip("."), "."):
            name, _, rest = inner.partition("<")
            result += f".{name}"
            if rest:
                result += "<" + "".join(self.signature(part) for part in _split(rest[:-1], ",")) + ">"
        return result + ";"

    def parameters(self, text: str) -> str:
        """The formal type parameters of a declaration, `<T:Landroid/view/View;>`, or nothing."""
        result = ""
        for parameter in _split(text, ","):
            name = parameter.split(" ")[0]
            bounds = [f":{self.signature(bound)}" for bound in self._bounds[name]]
            if self._is_interface(self._bounds[name][0]):
                bounds[0] = ":" + bounds[0]
            result += name + "".join(bounds)
        return f"<{result}>" if result else ""

    def _is_interface(self, bound: str) -> bool:
        plain = _strip_arguments(bound)
        known = self._classes.get(plain) or self._classes.get(f"java.lang.{plain}")
        return known is not None and bool(known.flags & INTERFACE)


def _arrays(text: str) -> tuple[str, str]:
    text, depth = text.strip(), 0
    while text.endswith(("[]", "...")):
        text = text[: -2 if text.endswith("[]") else -3].strip()
        depth += 1
    return text, "[" * depth


def _strip_arguments(text: str) -> str:
    result, depth = "", 0
    for character in text:
        depth += character == "<"
        if depth == 0:
            result += character
        depth -= character == ">"
    return result


class Pool:
    """A class file's constants."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._index: dict[bytes, int] = {}
        self._next = 1

    def _add(self, entry: bytes, slots: int = 1) -> int:
        if entry not in self._index:
            self._index[entry] = self._next
            self._entries.append(entry)
            self._next += slots
        return self._index[entry]

    def utf8(self, text: str) -> int:
        data = text.replace("\0", "\udc00").encode("utf-8", "surrogatepass").replace(b"\xed\xb0\x80", b"\xc0\x80")
        return self._add(b"\x01" + struct.pack(">H", len(data)) + data)

    def class_(self, binary: str) -> int:
        return self._add(b"\x07" + struct.pack(">H", self.utf8(binary)))

    def constant(self, descriptor: str, written: str) -> int | None:
        """The constant that a field is set to, or None for one that is written in no way known here."""
        if descriptor == "Ljava/lang/String;" and written.startswith('"'):
            return self._add(b"\x08" + struct.pack(">H", self.utf8(ast.literal_eval(written))))
        special = {"true": "1", "false": "0"}.get(written, written)
        try:
            if descriptor in ("I", "S", "B", "C", "Z"):
                return self._add(b"\x03" + struct.pack(">i", int(special)))
            if descriptor == "J":
                return self._add(b"\x05" + struct.pack(">q", int(special.rstrip("L"))), 2)
            if descriptor == "F":
                return self._add(b"\x04" + struct.pack(">f", float(special.rstrip("f"))))
            if descriptor == "D":
                return self._add(b"\x06" + struct.pack(">d", float(special)), 2)
        except (ValueError, OverflowError, struct.error):
            return None
        return None

    def bytes(self) -> bytes:
        return struct.pack(">H", self._next) + b"".join(self._entries)


def class_file(declared: Declared, classes: dict[str, Declared], inner: list[Declared]) -> bytes:
    pool = Pool()
    scopes = _scopes(declared, classes)
    types = Types(classes, scopes)
    default = {"enum": f"java.lang.Enum<{declared.dotted}>"}.get(declared.kind, "java.lang.Object")
    supertype = (declared.supertypes or [default])[0]
    interfaces = declared.interfaces + (["java.lang.annotation.Annotation"] if declared.kind == "@interface" else [])
    signature = types.parameters(declared.parameters) + types.signature(supertype)
    signature += "".join(types.signature(each) for each in interfaces)

    fields, methods = [], []
    for member in declared.members:
        keyword, _, rest = member.partition(" ")
        if keyword in ("field", "enum_constant"):
            fields.append(_field(pool, types, rest, keyword == "enum_constant"))
        else:
            methods.append(_method(pool, classes, scopes, declared, rest, keyword == "ctor"))

    flags = declared.flags & ~(STATIC | PROTECTED) | (0 if declared.flags & INTERFACE else SUPER)
    if declared.flags & PROTECTED:
        flags |= PUBLIC
    if declared.kind == "enum" and any(" abstract " in f" {member}" for member in declared.members):
        flags = flags & ~FINAL | ABSTRACT
    is_root = declared.dotted == "java.lang.Object"
    above = 0 if is_root else pool.class_(types.erased(supertype)[1:-1])
    body = struct.pack(">HHH", flags, pool.class_(declared.binary), above)
    body += struct.pack(">H", len(interfaces))
    body += b"".join(struct.pack(">H", pool.class_(types.erased(each)[1:-1])) for each in interfaces)
    for group in (fields, methods):
        body += struct.pack(">H", len(group)) + b"".join(group)
    attributes = [] if is_root else [_attribute(pool, "Signature", struct.pack(">H", pool.utf8(signature)))]
    nested = [*_outward(declared, classes), *inner]
    if nested:
        entries = b"".join(
            struct.pack(
                ">HHHH",
                pool.class_(each.binary),
                pool.class_(classes[each.outer].binary) if each.outer in classes else 0,
                pool.utf8(each.name.rpartition(".")[2]),
                each.flags | (STATIC if each.flags & (INTERFACE | ENUM) else 0),
            )
            for each in nested
        )
        attributes.append(_attribute(pool, "InnerClasses", struct.pack(">H", len(nested)) + entries))
    body += struct.pack(">H", len(attributes)) + b"".join(attributes)
    return struct.pack(">IHH", 0xCAFEBABE, 0, JAVA_8) + pool.bytes() + body


def _scopes(declared: Declared, classes: dict[str, Declared]) -> list[str]:
    """Type parameters that a class sees: its own, and those of the classes round it that are not static."""
    result = []
    current: Declared | None = declared
    while current is not None:
        result.insert(0, current.parameters)
        if current.flags & (STATIC | INTERFACE | ENUM):
            break
        current = classes.get(current.outer or "")
    return result


def _outward(declared: Declared, classes: dict[str, Declared]) -> list[Declared]:
    """The nested classes on the way from the outermost one to this one."""
    result = []
    current: Declared | None = declared
    while current is not None and current.outer:
        result.insert(0, current)
        current = classes.get(current.outer)
    return result


def _attribute(pool: Pool, name: str, data: bytes) -> bytes:
    return struct.pack(">HI", pool.utf8(name), len(data)) + data


def _modifiers(words: list[str]) -> int:
    flags = 0
    while words and words[0] in MODIFIERS:
        flags |= MODIFIERS[words.pop(0)]
    return flags


def _field(pool: Pool, types: Types, text: str, is_enum: bool) -> bytes:
    declaration, _, value = text.partition(" = ")
    words = _split(declaration, " ")
    flags = _modifiers(words) | (ENUM if is_enum else 0)
    written, name = words
    attributes = [_attribute(pool, "Signature", struct.pack(">H", pool.utf8(types.signature(written))))]
    if written in PRIMITIVES:
        attributes = []
    descriptor = types.erased(written)
    constant = pool.constant(descriptor, value) if value else None
    if constant is not None:
        attributes.append(_attribute(pool, "ConstantValue", struct.pack(">H", constant)))
    head = struct.pack(">HHHH", flags, pool.utf8(name), pool.utf8(descriptor), len(attributes))
    return head + b"".join(attributes)


def _method(
    pool: Pool, classes: dict[str, Declared], scopes: list[str], declared: Declared, text: str, is_constructor: bool
) -> bytes:
    opening = text.index("(")
    closing = _end_of_group(text, opening, "(", ")")
    words = _split(text[:opening], " ")
    is_default = "default" in words
    flags = _modifiers(words)
    own = words.pop(0)[1:-1] if words[0].startswith("<") else ""
    flags |= _modifiers(words)
    types = Types(classes, [*scopes, own])
    result = "void" if is_constructor else words[0]
    name = "<init>" if is_constructor else words[1]
    arguments = _split(text[opening + 1 : closing - 1], ",")
    if arguments and arguments[-1].endswith("..."):
        flags |= VARARGS
    if declared.flags & INTERFACE and not is_default and not flags & STATIC:
        flags |= ABSTRACT
    thrown = re.search(r"throws (.*?)(?: default .*)?$", text[closing:])
    exceptions = _split(thrown.group(1), ",") if thrown else []
    descriptor = "(" + "".join(map(types.erased, arguments)) + ")" + types.erased(result)
    signature = types.parameters(own) + "(" + "".join(map(types.signature, arguments)) + ")" + types.signature(result)
    signature += "".join("^" + types.signature(each) for each in exceptions)
    attributes = [_attribute(pool, "Signature", struct.pack(">H", pool.utf8(signature)))]
    if exceptions:
        indices = [pool.class_(types.erased(each)[1:-1]) for each in exceptions]
        attributes.append(_attribute(pool, "Exceptions", struct.pack(f">H{len(indices)}H", len(indices), *indices)))
    head = struct.pack(">HHHH", flags, pool.utf8(name), pool.utf8(descriptor), len(attributes))
    return head + b"".join(attributes)


def write_jar(signature_file: Path, jar: Path) -> int:
    """Returns the number of classes."""
    text = signature_file.read_text(encoding="utf-8")
    classes = parse(text)
    classes = parse(LAMBDA) | classes
    inner: dict[str, list[Declared]] = {}
    for declared in classes.values():
        if declared.outer:
            inner.setdefault(declared.outer, []).append(declared)
    partial = jar.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for declared in classes.values():
            info = zipfile.ZipInfo(declared.binary + ".class", (1981, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, class_file(declared, classes, inner.get(declared.dotted, [])))
    partial.rename(jar)
    return len(classes)


if __name__ == "__main__":
    print(write_jar(Path(sys.argv[1]), Path(sys.argv[2])), "classes")
