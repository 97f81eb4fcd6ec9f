"""Step 4: which discharges answer which caveats. pymacaroons builds and binds; our matching judges."""

from collections.abc import Sequence
from itertools import permutations

import pytest
from nacl.secret import SecretBox
from pymacaroons import Macaroon

from capsvc.errors import Denied
from capsvc.macaroon import discharges
from capsvc.macaroon.chain import VerifiedMacaroon, compute, derive_key, extend, verify
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode
from capsvc.macaroon.discharges import MAX_CHAINS, VID_OCTETS, match

ROOT_KEY = bytes(range(32))
KEY = derive_key(ROOT_KEY)

Third = tuple[str, str]
"""A third-party caveat: its id, and the key that its discharge is made under."""


def build(identifier: str | bytes, key: str | bytes, thirds: Sequence[Third] = (), location: str = "l") -> Macaroon:
    """A macaroon by pymacaroons, with third-party caveats located at ``http://<key>/``."""
    macaroon = Macaroon(location=location, identifier=identifier, key=key, version=2)
    for cid, secret in thirds:
        macaroon.add_third_party_caveat(f"http://{secret}/", secret, cid)
    return macaroon


def root_with(*thirds: Third, first_party: Sequence[str] = ()) -> Macaroon:
    """A root with first-party caveats and, after them, third-party ones."""
    macaroon = Macaroon(location="l", identifier="root", key=ROOT_KEY, version=2)
    for text in first_party:
        macaroon.add_first_party_caveat(text)
    for cid, secret in thirds:
        macaroon.add_third_party_caveat(f"http://{secret}/", secret, cid)
    return macaroon


def verified(root: Macaroon) -> VerifiedMacaroon:
    """A root whose signature is right."""
    macaroon = verify(decode(root.serialize()), KEY)
    assert macaroon is not None
    return macaroon


def bound(root: Macaroon, *unbound: Macaroon) -> list[UnverifiedMacaroon]:
    """Discharges, bound to the root."""
    return [decode(root.prepare_for_request(discharge).serialize()) for discharge in unbound]


def answered(root: Macaroon, *given: UnverifiedMacaroon, issuer_caveats: int = 0) -> list[str]:
    """The ids of the discharges that answer, in the order of their caveats."""
    return [one.macaroon.identifier.decode() for one in match(verified(root), given, range(issuer_caveats))]


def denial(root: Macaroon, *given: UnverifiedMacaroon, issuer_caveats: int = 0) -> tuple[str, str | None]:
    """The code and caveat of a denial."""
    with pytest.raises(Denied) as denied:
        match(verified(root), given, range(issuer_caveats))
    return denied.value.code, denied.value.caveat


def nested(depth: int) -> tuple[Macaroon, list[Macaroon]]:
    """A root, and a line of discharges each of which needs the next."""
    root = root_with(("d1", "k1"))
    line = [build(f"d{i}", f"k{i}", [(f"d{i + 1}", f"k{i + 1}")] if i < depth else []) for i in range(1, depth + 1)]
    return root, line


def test_nothing_to_answer() -> None:
    """A root without third-party caveats has no discharges, and answers nothing."""
    assert answered(root_with()) == []
    assert answered(root_with(first_party=["a = b"]), issuer_caveats=1) == []


def test_a_discharge_answers_its_caveat() -> None:
    """Its id, its key, its binding; what comes back is the discharge with its MACs."""
    root = root_with(("cid", "secret"), first_party=["a = b"])
    discharge = build("cid", "secret")
    discharge.add_first_party_caveat("c = d")
    (given,) = bound(root, discharge)
    (answer,) = match(verified(root), [given], [0])
    assert answer.macaroon is given
    assert answer.macs[-1].hex() == discharge.signature
    assert len(answer.macs) == 2


def test_a_missing_discharge() -> None:
    """No discharge, or one of another id."""
    root = root_with(("cid", "secret"))
    assert answered(root, *bound(root, build("cid", "secret"))) == ["cid"]
    assert denial(root) == ("discharge-missing", "http://secret/")
    for identifier in ("cid2", "ci", "CID", "root", ""):
        assert denial(root, *bound(root, build(identifier, "secret"))) == ("discharge-missing", "http://secret/")


def test_the_first_caveat_to_fail_gives_the_code() -> None:
    """In the root's order; the one before it is answered."""
    root = root_with(("one", "k1"), ("two", "k2"), ("three", "k3"))
    one, two, three = bound(root, build("one", "k1"), build("two", "k2"), build("three", "k3"))
    assert answered(root, one, two, three) == ["one", "two", "three"]
    assert denial(root, one, three) == ("discharge-missing", "http://k2/")
    wrong = bound(root, build("two", "other"))[0]
    assert denial(root, one, wrong) == ("discharge-invalid", "http://k2/")
    assert denial(root, wrong, three) == ("discharge-missing", "http://k1/")


def test_a_discharge_under_another_key() -> None:
    """Made by who does not have the caveat's key."""
    root = root_with(("cid", "secret"))
    for key in ("secret2", "Secret", "s", ROOT_KEY):
        assert denial(root, *bound(root, build("cid", key))) == ("discharge-invalid", "http://secret/")


def test_an_altered_discharge() -> None:
    """A caveat of it removed, altered or added, its id kept."""
    root = root_with(("cid", "secret"))
    discharge = build("cid", "secret")
    discharge.add_first_party_caveat("a = b")
    (given,) = bound(root, discharge)
    assert answered(root, given) == ["cid"]
    for caveats in ((), (RawCaveat(b"a = c"),), (*given.caveats, RawCaveat(b"a = b"))):
        assert denial(root, given._replace(caveats=caveats))[0] == "discharge-invalid"
    extended = extend(given.signature, RawCaveat(b"x"))
    longer = given._replace(caveats=(*given.caveats, RawCaveat(b"x")), signature=extended)
    assert denial(root, longer)[0] == "discharge-invalid"


def test_every_octet_of_a_binding() -> None:
    """A signature that is right but for one bit."""
    root = root_with(("cid", "secret"))
    (given,) = bound(root, build("cid", "secret"))
    assert answered(root, given) == ["cid"]
    for position in range(32):
        wrong = bytearray(given.signature)
        wrong[position] ^= 1
        assert denial(root, given._replace(signature=bytes(wrong)))[0] == "discharge-invalid"


def test_an_unused_discharge() -> None:
    """One too many, whatever it is: of another id, the same again, the root itself."""
    root = root_with(("cid", "secret"))
    discharge = build("cid", "secret")
    assert answered(root, *bound(root, discharge)) == ["cid"]
    for extra in (build("other", "secret"), discharge, build("cid", "other"), root):
        assert denial(root, *bound(root, discharge, extra)) == ("discharge-unused", None)
    bare = root_with()
    assert answered(bare) == []
    assert denial(bare, *bound(bare, discharge)) == ("discharge-unused", None)


def test_one_discharge_does_not_answer_two_caveats() -> None:
    """A second caveat of the same id and key needs a second discharge."""
    root = root_with(("cid", "secret"), ("cid", "secret"))
    discharge = build("cid", "secret")
    assert answered(root, *bound(root, discharge, discharge)) == ["cid", "cid"]
    assert denial(root, *bound(root, discharge)) == ("discharge-missing", "http://secret/")


def test_a_nested_caveat_takes_its_own_discharge() -> None:
    """One that another caveat of the bundle has used is not there any more."""
    root = root_with(("one", "k1"), ("two", "k2"))
    one, two = build("one", "k1", [("two", "k2")]), build("two", "k2")
    assert answered(root, *bound(root, one, two, two)) == ["one", "two", "two"]
    assert denial(root, *bound(root, one, two)) == ("discharge-missing", "http://k2/")


def test_a_cycle_ends() -> None:
    """A discharge that needs itself, or the one that needs it."""
    root = root_with(("a", "k"))
    assert answered(root, *bound(root, build("a", "k"))) == ["a"]
    assert denial(root, *bound(root, build("a", "k", [("a", "k")])))[0] == "discharge-missing"
    one, two = build("a", "k", [("b", "k")]), build("b", "k", [("a", "k")])
    assert denial(root, *bound(root, one, two))[0] == "discharge-missing"
    assert denial(root, *bound(root, build("a", "k", [("root", "k")]), root))[0] == "discharge-invalid"


def test_four_levels_and_no_fifth() -> None:
    """The root has depth 0, and no discharge is matched at depth 5."""
    root, line = nested(4)
    assert answered(root, *bound(root, *line)) == ["d1", "d2", "d3", "d4"]
    root, line = nested(5)
    assert denial(root, *bound(root, *line)) == ("too-large", None)
    assert denial(root, *bound(root, *line[:4])) == ("discharge-missing", "http://k5/")
    assert denial(root, *bound(root, *line[:4], build("d5", "other"))) == ("too-large", None)


def test_nothing_is_computed_past_the_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound comes before the chain of the fifth."""
    root, line = nested(5)
    computed: list[bytes] = []

    def counting(key: bytes, macaroon: UnverifiedMacaroon) -> list[bytes]:
        computed.append(macaroon.identifier)
        return compute(key, macaroon)

    monkeypatch.setattr(discharges, "compute", counting)
    assert denial(root, *bound(root, *line))[0] == "too-large"
    assert computed == [b"d1", b"d2", b"d3", b"d4"]


def test_breadth_first() -> None:
    """The root's caveats in order, then those of their discharges in order."""
    root = root_with(("a", "ka"), ("b", "kb"))
    a, b = build("a", "ka", [("c", "kc"), ("d", "kd")]), build("b", "kb", [("e", "ke")])
    leaves = [build(name, f"k{name}") for name in "cde"]
    given = bound(root, a, b, *leaves)
    assert answered(root, *given) == ["a", "b", "c", "d", "e"]
    deep = [*given[:1], *given[2:]]  # b is missing: said before anything of a's is looked at
    assert denial(root, *deep) == ("discharge-missing", "http://kb/")


def test_the_order_of_discharges_is_of_no_account() -> None:
    """Every order gives the same answers in the same order."""
    root = root_with(("a", "ka"), ("same", "k1"), ("same", "k2"))
    given = bound(
        root, build("a", "ka", [("same", "k3")]), build("same", "k1"), build("same", "k2"), build("same", "k3")
    )
    expected = match(verified(root), given)
    assert [one.macaroon for one in expected] == given
    for order in permutations(given):
        assert [one.macaroon for one in match(verified(root), order)] == given


def test_short_ids_are_told_apart_by_their_macs() -> None:
    """Bakery dischargers name the nested caveats of different parents `03 00` alike."""
    root = root_with(("a", "ka"), ("b", "kb"))
    short = "\x03\x00"
    a, b = build("a", "ka", [(short, "k1")]), build("b", "kb", [(short, "k2")])
    for_a, for_b = build(short, "k1", location="for a"), build(short, "k2", location="for b")
    for order in permutations([a, b, for_a, for_b]):
        matched = match(verified(root), bound(root, *order))
        assert [one.macaroon.location for one in matched[2:]] == [b"for a", b"for b"]
    assert denial(root, *bound(root, a, b, for_a, for_a)) == ("discharge-invalid", "http://k2/")
    assert denial(root, *bound(root, a, b, for_a)) == ("discharge-missing", "http://k2/")
    assert denial(root, *bound(root, a, b, for_a, for_b, for_b)) == ("discharge-unused", None)


def test_a_wrong_one_of_the_same_id_is_passed_over_and_then_left() -> None:
    """Somebody else's discharge of the id is no obstacle to the right one, but it is one too many."""
    root = root_with(("cid", "secret"), ("cid", "other"))
    right, other = build("cid", "secret"), build("cid", "other")
    assert answered(root, *bound(root, other, right)) == ["cid", "cid"]
    single = root_with(("cid", "secret"))
    assert denial(single, *bound(single, other, right)) == ("discharge-unused", None)


def worst(together: int, alone: int) -> tuple[Macaroon, list[UnverifiedMacaroon]]:
    """Caveats that share an id, their discharges in the reverse order, and others with ids of their own."""
    shared = [("same", f"s{i}") for i in range(together)]
    single = [(f"own{i}", f"o{i}") for i in range(alone)]
    root = root_with(*shared, *single)
    given = [build(*third) for third in [*reversed(shared), *single]]
    return root, bound(root, *given)


def test_thirty_two_chains_and_no_thirty_third() -> None:
    """Seven in reverse are 7 + 6 + … + 1 = 28 chains, the root's is one, three more make 32."""
    assert MAX_CHAINS == 32
    root, given = worst(7, 3)
    assert len(match(verified(root), given)) == 10
    root, given = worst(7, 4)
    assert denial(root, *given) == ("too-large", None)
    in_order = [*reversed(given[:7]), *given[7:]]
    assert len(match(verified(root), in_order)) == 11


def test_as_many_discharges_as_there_may_be() -> None:
    """Sixteen of one id, in the order of their caveats, need no more than one chain each."""
    thirds = [("same", f"k{i}") for i in range(16)]
    root = root_with(*thirds)
    given = bound(root, *(build(*third) for third in thirds))
    assert len(match(verified(root), given)) == 16
    assert denial(root, *reversed(given)) == ("too-large", None)


def test_chains_under_the_wrong_key_count_too() -> None:
    """Sixteen wrong discharges of one id are tried once, not for ever."""
    root = root_with(("same", "k"), ("same", "k"), ("same", "k"))
    wrong = bound(root, *(build("same", f"w{i}") for i in range(14)))
    right = bound(root, *[build("same", "k")] * 3)
    assert denial(root, *right, *wrong) == ("discharge-unused", None)
    assert denial(root, *wrong, *right) == ("too-large", None)


def test_fan_out() -> None:
    """A discharge may need several, they others; each is answered once."""
    root = root_with(("a", "k"))
    a = build("a", "k", [(f"a{i}", f"k{i}") for i in range(3)])
    middle = [build(f"a{i}", f"k{i}", [(f"a{i}{j}", f"k{i}{j}") for j in range(4)]) for i in range(3)]
    leaves = [build(f"a{i}{j}", f"k{i}{j}") for i in range(3) for j in range(4)]
    given = bound(root, a, *middle, *leaves)
    assert len(given) == 16
    assert answered(root, *given) == [one.identifier.decode() for one in given]


def test_an_unbound_discharge() -> None:
    """As the discharger made it, before it was bound: anybody who saw it could use it."""
    root = root_with(("cid", "secret"))
    discharge = build("cid", "secret")
    assert answered(root, *bound(root, discharge)) == ["cid"]
    assert denial(root, decode(discharge.serialize())) == ("discharge-invalid", "http://secret/")
    (twice,) = bound(root, root.prepare_for_request(discharge))
    assert denial(root, twice)[0] == "discharge-invalid"


def test_a_discharge_bound_to_another_root() -> None:
    """Bound to a token with the same caveat, to the root before or after it was narrowed, or to no root."""
    root = root_with(("cid", "secret"))
    discharge = build("cid", "secret")
    other = root_with(("cid", "secret"))  # the vid has another nonce
    before = Macaroon(location="l", identifier="root", key=ROOT_KEY, version=2)
    after = root.copy()
    after.add_first_party_caveat("a = b")
    assert answered(root, *bound(root, discharge)) == ["cid"]
    for elsewhere in (other, before, after, discharge):
        assert denial(root, *bound(elsewhere, discharge)) == ("discharge-invalid", "http://secret/")
    assert denial(after, *bound(root, discharge)) == ("discharge-invalid", "http://secret/")


def test_a_nested_discharge_bound_to_its_parent() -> None:
    """All are bound to the root, nested ones too."""
    root, (parent, child) = nested(2)
    assert answered(root, *bound(root, parent, child)) == ["d1", "d2"]
    bound_parent = root.prepare_for_request(parent)
    for wrong_root in (parent, bound_parent):
        given = [decode(bound_parent.serialize()), *bound(wrong_root, child)]
        assert denial(root, *given) == ("discharge-invalid", "http://k2/")


def with_vid(vid: bytes, location: bytes | None = b"there") -> UnverifiedMacaroon:
    """A root with one third-party caveat of that vid, correctly signed."""
    root = decode(root_with().serialize())
    caveat = RawCaveat(b"cid", vid, location)
    return root._replace(caveats=(caveat,), signature=extend(root.signature, caveat))


def denied_for(macaroon: UnverifiedMacaroon) -> tuple[str, str | None]:
    """The denial of a root that comes with a discharge of the right id."""
    root = verify(macaroon, KEY)
    assert root is not None
    with pytest.raises(Denied) as denied:
        match(root, [decode(build("cid", "secret").serialize())])
    return denied.value.code, denied.value.caveat


def test_a_vid_of_another_length() -> None:
    """72 octets: a nonce of 24, a tag of 16, a key of 32. A sealed key of another length is none."""
    assert VID_OCTETS == 72
    box = SecretBox(decode(root_with().serialize()).signature)
    for length in (0, 16, 31, 33, 64):
        assert denied_for(with_vid(bytes(box.encrypt(bytes(length))))) == ("discharge-invalid", "there")
    for length in (1, 39, 40, 71, 73, 200):
        assert denied_for(with_vid(bytes(length))) == ("discharge-invalid", "there")


def test_a_vid_that_does_not_open() -> None:
    """Sealed under another MAC, or altered in any octet; before it is asked whether a discharge is there."""
    here = SecretBox(decode(root_with().serialize()).signature)
    genuine = bytes(here.encrypt(derive_key(b"secret")))
    opened = verify(with_vid(genuine), KEY)
    assert opened is not None
    with pytest.raises(Denied) as missing:
        match(opened, [])
    assert missing.value.code == "discharge-missing"
    for position in range(72):
        altered = bytearray(genuine)
        altered[position] ^= 1
        assert denied_for(with_vid(bytes(altered))) == ("discharge-invalid", "there")
    elsewhere = bytes(SecretBox(KEY).encrypt(derive_key(b"secret")))
    assert denied_for(with_vid(elsewhere)) == ("discharge-invalid", "there")
    unopened = verify(with_vid(elsewhere), KEY)
    assert unopened is not None
    with pytest.raises(Denied) as invalid:
        match(unopened, [])
    assert invalid.value.code == "discharge-invalid"


def test_a_vid_belongs_to_its_place() -> None:
    """The vid of a genuine caveat does not open at another point of the chain."""
    root = root_with(("cid", "secret"), first_party=["a = b"])
    caveat = decode(root.serialize()).caveats[1]
    assert caveat.vid is not None
    assert answered(root, *bound(root, build("cid", "secret"))) == ["cid"]
    assert denied_for(with_vid(caveat.vid))[0] == "discharge-invalid"


def test_an_issuers_third_party_caveat() -> None:
    """It would need a registered discharger, and there are none; the same caveat as a holder's is answered."""
    root = root_with(("cid", "secret"), first_party=["a = b"])
    given = bound(root, build("cid", "secret"))
    assert answered(root, *given, issuer_caveats=0) == ["cid"]
    assert answered(root, *given, issuer_caveats=1) == ["cid"]
    assert denial(root, *given, issuer_caveats=2) == ("discharge-invalid", "http://secret/")
    assert denial(root, issuer_caveats=2) == ("discharge-invalid", "http://secret/")


def test_a_discharge_has_no_issuer_caveats() -> None:
    """Positions count in the root alone."""
    root = root_with(("a", "k"), first_party=["x = 1", "x = 2"])
    a, b = build("a", "k", [("b", "kb")]), build("b", "kb")
    assert answered(root, *bound(root, a, b), issuer_caveats=2) == ["a", "b"]


def test_a_caveat_is_named_by_its_location() -> None:
    """As printable text; one without location has no name."""
    for location, name in ((b"http://x/\x1b[31m", r"http://x/\x1b[31m"), (b"", None), (None, None)):
        assert denied_for(with_vid(bytes(72), location)) == ("discharge-invalid", name)


def test_a_root_as_a_discharge() -> None:
    """A macaroon that the authority minted under its own key answers nobody's caveat."""
    root = root_with(("cid", "secret"))
    impostor = Macaroon(location="l", identifier="cid", key=ROOT_KEY, version=2)
    assert answered(root, *bound(root, build("cid", "secret"))) == ["cid"]
    assert denial(root, *bound(root, impostor)) == ("discharge-invalid", "http://secret/")


def test_what_is_given_is_not_touched() -> None:
    """The same values match again."""
    root = root_with(("cid", "secret"))
    given = bound(root, build("cid", "secret"))
    once, again = (match(verified(root), given) for _ in range(2))
    assert [one.macs for one in once] == [one.macs for one in again]
    assert len(given) == 1


def test_bindings_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hmac.compare_digest` decides."""
    root = root_with(("cid", "secret"))
    given = bound(root, build("cid", "other"))
    assert denial(root, *given)[0] == "discharge-invalid"
    monkeypatch.setattr(discharges, "compare_digest", lambda _left, _right: True)
    assert answered(root, *given) == ["cid"]
