from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labkit.course import answers
from labkit.course.answers import NotPlainData, decode, digest, encode
from labkit.course.compare import compare_exactly

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.fractions()
)
ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.uint8]), hnp.array_shapes(min_dims=0, min_side=0),
    elements={"allow_nan": False},
)  # fmt: skip
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@given(VALUES)
def test_what_comes_out_is_what_went_in(value: Any) -> None:
    assert _same(value, decode(encode(value)))


def test_not_finite_numbers_cross() -> None:
    assert np.isnan(decode(encode(float("nan"))))
    assert decode(encode(float("-inf"))) == float("-inf")


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_few_bytes_stand_in_the_text_and_many_in_an_array_of_their_own(more: int) -> None:
    value = [b"y" * (answers.INLINE_BYTES + more)]
    assert decode(encode(value)) == value
    assert encode(value).startswith(answers.JSON_MARK) == (more <= 0)


def test_tensors_become_arrays() -> None:
    torch = pytest.importorskip("torch")
    came = decode(encode({"loss": torch.tensor([1.0, 2.0], requires_grad=True)}))
    assert isinstance(came["loss"], np.ndarray)
    assert came["loss"].tolist() == [1.0, 2.0]


class EqualToEverything(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def test_an_object_with_its_own_equality_arrives_as_a_plain_one() -> None:
    came = decode(encode([EqualToEverything(3)]))
    assert type(came[0]) is int
    assert compare_exactly([4], came) is not None


class AgreeingArray(np.ndarray):
    def __eq__(self, other: object) -> Any:
        return np.ones(self.shape, bool)


def test_an_array_subclass_arrives_as_an_array() -> None:
    assert type(decode(encode(np.zeros(3).view(AgreeingArray)))) is np.ndarray


@pytest.mark.parametrize(
    "value", [object(), lambda: 0, {1, 2}, np.array([object()]), np.array(["text"]), [[object()]], iter([1])]
)
def test_what_is_not_data_does_not_cross(value: Any) -> None:
    with pytest.raises(NotPlainData, match="plain data"):
        encode(value)


def test_deep_nesting_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(answers.MAX_DEPTH + 2):
        nested = [nested]
    with pytest.raises(NotPlainData, match="nested"):
        encode(nested)


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(np.zeros(4_000_000))  # zeros pack well: the unpacked size is what counts
    monkeypatch.setattr(answers, "MAX_BYTES", 1000)
    with pytest.raises(NotPlainData, match="at most"):
        decode(data)
    with pytest.raises(NotPlainData, match="at most"):
        encode(np.zeros(1000))


def test_too_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode("x" * 2000)
    monkeypatch.setattr(answers, "MAX_BYTES", 1000)
    with pytest.raises(NotPlainData, match="at most"):
        decode(data)
    with pytest.raises(NotPlainData, match="at most"):
        encode("x" * 2000)


@pytest.mark.parametrize(
    "tree",
    [
        "",
        "{",
        '{"array": 0}',
        '{"bytes": 0}',
        '{"base64": "%"}',
        '{"base64": 7}',
        '{"pickle": "gASVAAA="}',
        '{"a": 1, "b": 2}',
        "[" * 10**5,
    ],
)
def test_text_that_is_no_encoded_answer_is_refused_in_words(tree: str) -> None:
    with pytest.raises(NotPlainData):
        decode(answers.JSON_MARK + tree.encode())


@given(st.binary(max_size=200))
def test_bytes_of_anything_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(NotPlainData, match="not an encoded answer"):
        decode(data)


def test_a_pickle_inside_is_never_loaded(tmp_path: Any) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, tree=np.array([Fraction(1, 3)], dtype=object))
    with pytest.raises(NotPlainData, match="not an encoded answer"):
        decode(path.read_bytes())


@given(VALUES)
def test_a_digest_is_that_of_the_value_and_not_of_the_object(value: Any) -> None:
    assert digest(decode(encode(value))) == digest(value)


@given(VALUES, VALUES)
def test_values_that_are_not_the_same_have_another_digest(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (encode(one) == encode(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ([1], (1,)),
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.zeros(1), np.zeros(())),
        (np.arange(4), np.arange(4)[::-1]),
        ([np.zeros(2), np.zeros(0)], [np.zeros(0), np.zeros(2)]),
    ],
    ids=repr,
)
def test_a_digest_tells_types_shapes_and_order_apart(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_what_is_no_plain_data_has_no_digest() -> None:
    with pytest.raises(NotPlainData):
        digest(object())
