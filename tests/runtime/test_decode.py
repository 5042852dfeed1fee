"""From YAML to configuration objects, with every problem at once."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError
from podpatterns.runtime.decode import decode, suggest, validated
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.schema import Config, InvalidField, InvalidFields, to_builtins
from podpatterns.runtime.units import Address, Duration, Share, Size, Url


class Spare(Config, frozen=True, kw_only=True):
    """What a spare is made of."""

    wait: Duration = Duration("1s")


class Store(Config, frozen=True, kw_only=True):
    """A store."""

    url: Url
    tries: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3
    linger: Duration = Duration("1s")
    mode: Literal["all", "any"] = "all"
    names: list[str] = []
    note: str | None = None
    weights: dict[str, int] = {}
    fields: dict[str, Any] = {}
    spares: Annotated[list["Spare"], msgspec.Meta(max_length=1)] = []
    hosts: Address | list[Address] = []
    share: float = 1.0

    def __post_init__(self):
        if self.note == "bad":
            raise InvalidField("note", "must not be bad")
        if self.tries == 9 and self.mode == "any":
            raise ValueError("nine tries of any make no sense")


class File(Config, frozen=True, kw_only=True):
    """A file with stores."""

    stores: list[Store]
    default: Store | None = None


def problems(text, env=None, cls=File):
    with pytest.raises(ConfigError) as caught:
        decode(parse(text, "f.yaml")[0], cls, env=env)
    return [str(problem) for problem in caught.value.problems]


def store(text, env=None):
    return decode(parse(text)[0], Store, env=env)


def test_every_problem_is_reported_at_once_in_document_order():
    """One run shows all the mistakes of a file, each with file, line, column, path and advice."""
    text = """\
stores:
- ulr: http://x/
  tries: 0
  linger: 30
  mode: each
- url: ftp://shop:secret@x/
  tries: "5"
  names: {a: b}
  weights: {a: many}
- http://x/
- url: http://x/
  note: bad
- url: http://x/
  tries: 9
  mode: any
defualt:
"""
    assert problems(text) == [
        'f.yaml:2:3: stores[0].ulr: unknown key "ulr"; did you mean "url"?',
        "f.yaml:3:10: stores[0].tries: must be at least 1",
        'f.yaml:4:11: stores[0].linger: "30" is not a duration; did you mean "30s"?',
        'f.yaml:5:9: stores[0].mode: unknown value "each"; known: all, any',
        'f.yaml:6:8: stores[1].url: "ftp://***@x/" is not a URL; write "http://host:port/path" or "https://…"',
        'f.yaml:7:10: stores[1].tries: must be a whole number, not "5"; remove the quotes',
        'f.yaml:8:10: stores[1].names: must be a list, not a mapping; start each item with "- "',
        'f.yaml:9:16: stores[1].weights.a: must be a whole number, not "many"',
        'f.yaml:10:3: stores[2]: must be a mapping, not "http://x/"; did you mean "{url: http://x/}"?',
        "f.yaml:12:9: stores[3].note: must not be bad",
        "f.yaml:13:3: stores[4]: nine tries of any make no sense",
        'f.yaml:16:1: defualt: unknown key "defualt"; did you mean "default"?',
    ]


def test_a_missing_key_is_named_where_it_should_stand():
    """A required key that is absent is blamed on its mapping; an absent value on its place."""
    assert problems("stores:\n- tries: 3\n- url:\n") == [
        'f.yaml:2:3: stores[0].url: the key "url" is required',
        "f.yaml:3:7: stores[1].url: must be a single value, but is empty",
    ]


def test_text_stays_what_was_written():
    """A text field takes the characters, not what YAML 1.1 makes of them."""
    assert store("{url: 'http://x', names: [1.10, yes, 22:22, 0x10, 2026-01-01]}").names == [
        "1.10",
        "yes",
        "22:22",
        "0x10",
        "2026-01-01",
    ]


@pytest.mark.parametrize("text", ["22:22", "010", "1.0", "true", "'3'", "1e1"])
def test_a_number_is_a_plain_decimal(text):
    """Sexagesimal, octal by accident, fractions and quoted numbers are refused."""
    assert "must be a whole number" in problems(f"{{url: 'http://x', tries: {text}}}", cls=Store)[0]


@pytest.mark.parametrize("text", ["inf", "nan", "-Infinity", "1e999"])
def test_a_number_is_finite(text):
    """What no rate and no weight can be is refused, and does not break whoever computes with it."""
    assert f'must be a number, not "{text}"' in problems(f"{{url: 'http://x', share: {text}}}", cls=Store)[0]


def test_variables_are_replaced_in_values_after_parsing():
    """A variable cannot add structure; it may become a number; `$${` is a literal `${`."""
    env = {"HOST": "x: [y]", "TRIES": "5", "EMPTY": ""}
    got = store('{url: "http://x", tries: "${TRIES}", names: ["${HOST}", "$${A}", "${NO:-d}", "${EMPTY}", $HOST]}', env)
    assert got.names == ["x: [y]", "${A}", "d", "", "$HOST"]
    assert got.tries == 5


def test_variables_are_replaced_where_anything_may_stand():
    """Also deep inside of a free-form mapping; numbers and truth stay what they are."""
    got = store(
        '{url: "http://x", fields: {pod: "${POD}", n: 1, deep: [{x: "a-${POD}", y: true}], raw: "$${A}"}}', {"POD": "p"}
    )
    assert got.fields == {"pod": "p", "n": 1, "deep": [{"x": "a-p", "y": True}], "raw": "${A}"}
    assert validated(got) == got


def test_a_variable_that_is_not_set_is_a_problem():
    """There is no silent empty string."""
    assert problems('{url: "http://${A}${B}"}', {"A": "x"}, Store) == [
        "f.yaml:1:7: url: the environment variable B is not set; set it or give a default: ${B:-…}"
    ]
    assert "the environment variable C is not set" in problems('{url: "http://x", fields: {a: "${C}"}}', {}, Store)[0]


@pytest.mark.parametrize("value", ["a-${STORE", "${STORE-x}", "${STORE:?needed}", "${STORE }", "${ STORE}", "${x.y}"])
def test_what_looks_like_a_variable_and_is_none_is_a_problem(value):
    """It never goes on as a file or an address with a dollar in its name."""
    (said,) = problems(f'{{url: "http://x", fields: {{a: "{value}"}}}}', {"STORE": "s", "x": "x"}, Store)
    assert said.startswith('f.yaml:1:31: fields.a: what begins with "${')
    assert said.endswith("is no variable; write ${NAME} or ${NAME:-default}, or $${ for a literal ${")


def test_groups_of_a_pattern_are_no_variables():
    """`${1}` is for who replaces by a pattern; `$$` and `$x` are text."""
    assert store('{url: "http://x", fields: {a: "${1} $$ $x ${"}}').fields == {"a": "${1} $$ $x ${"}


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("paht", ["path", "type"], '; did you mean "path"?'),
        ("repo", ["ref", "repository"], '; did you mean "repository"?'),
        ("verbose", ["debug", "info", "error"], "; known: debug, info, error"),
        ("port", ["listen", "protocol"], "; known: listen, protocol"),
    ],
)
def test_a_suggestion_is_what_was_meant_or_the_whole_choice(word, known, said):
    """A slip or a word cut short has one; a far guess would lead astray."""
    assert suggest(word, known) == said


def test_a_union_takes_the_option_that_has_the_shape():
    """One address or a list of them; the problem speaks of the shape that was written."""
    assert store("{url: 'http://x', hosts: 'a:1'}").hosts == "a:1"
    assert store("{url: 'http://x', hosts: ['a:1', 'b:2']}").hosts == ["a:1", "b:2"]
    assert problems("{url: 'http://x', hosts: [a]}", cls=Store) == [
        'f.yaml:1:27: hosts[0]: "a" is not an address; write "host:port", ":port" or "unix:/path"'
    ]


def test_what_is_built_in_python_is_checked_as_strictly():
    """The same problems, with paths instead of lines; a `$` in Python is text."""
    with pytest.raises(ConfigError) as caught:
        validated(File(stores=[Store(url="x", tries=0, linger=5, names="abc")]))
    assert [str(problem) for problem in caught.value.problems] == [
        'stores[0].url: "x" is not a URL; write "http://host:port/path" or "https://…"',
        "stores[0].tries: must be at least 1",
        'stores[0].linger: "5" is not a duration; did you mean "5s"?',
        'stores[0].names: must be a list, not "abc"; start each item with "- "',
    ]
    good = Store(url=Url("http://x"), note="${A} $${B}", linger=Duration("2s"), weights={"a": 1})
    assert validated(good) == good


def test_python_values_are_turned_into_the_declared_scalars():
    """After validation the code finds a Duration where the annotation says so."""
    got = validated(Store(url="http://x", linger="5s", hosts=["a:1"], spares=[Spare(wait="2s")]))
    assert (type(got.url), type(got.linger), got.hosts[0].port) == (Url, Duration, 1)


SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
TREE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["stores", "url", "tries", "hosts", "note", "x"]), inner, max_size=4),
    ),
    max_leaves=12,
)


def attempt(node):
    try:
        decode(node, File)
    except ConfigError as error:
        return error.problems
    return ()


@given(TREE)
def test_no_document_breaks_the_decoder(tree: Any):
    """Whatever stands in a file, the answer is a value or a list of problems, each with a line."""
    text = msgspec.json.encode(tree).decode()
    try:
        nodes = parse(text, "f.yaml")
    except ConfigError:
        return
    found = attempt(nodes[0])
    assert all(problem.line is not None for problem in found)


def test_the_length_of_a_list_of_structs_can_be_bound():
    """Items are checked one by one, then the list for its length."""
    assert problems("{url: 'http://x', spares: [{}, {wait: 1}]}", cls=Store) == [
        'f.yaml:1:39: spares[1].wait: "1" is not a duration; did you mean "1s"?'
    ]
    assert problems("{url: 'http://x', spares: [{}, {}]}", cls=Store) == [
        "f.yaml:1:27: spares: must be a list with at most 1 item"
    ]


class Deep(Config, frozen=True, kw_only=True):
    """Blames places further down, several at once."""

    stores: list[Store]

    def __post_init__(self):
        raise InvalidFields(
            [InvalidField("stores[1].url", "is down"), InvalidField("stores[0].names[7]", "is missing")]
        )


def test_a_check_over_several_fields_can_blame_each_place():
    """A problem found late stands where its value stands, or as near as there is something."""
    assert problems("stores:\n- url: http://a\n- url: http://b\n", cls=Deep) == [
        "f.yaml:2:3: stores[0].names[7]: is missing",
        "f.yaml:3:8: stores[1].url: is down",
    ]


class Every(Config, frozen=True, kw_only=True):
    """One of each scalar."""

    duration: Duration
    size: Size
    share: Share
    address: Address


@given(
    st.builds(
        Every,
        duration=st.integers(0, 10**6).map(Duration),
        size=st.integers(0, 1 << 40).map(Size),
        share=st.integers(0, 100).map(lambda p: Share(p / 100)),
        address=st.integers(0, 65535).map(lambda port: Address(f"h:{port}")),
    )
)
def test_a_configuration_survives_the_way_through_text(config):
    """decode(yaml(config)) = config: what `/config` shows can be used."""
    text = msgspec.json.encode(to_builtins(config)).decode()
    again = decode(parse(text)[0], Every)
    assert to_builtins(again) == to_builtins(config)
