"""What a Hub id looks like, and what may go into which repository."""

import pytest

from ser_generalize.errors import InputError
from ser_generalize.hub import Visibility, check_redistribution, is_hub_id, strictest_licence


@pytest.mark.parametrize("name", ["openai/whisper-base", "org/data_2.1"])
def test_org_and_name_may_be_asked_for(name: str) -> None:
    assert is_hub_id(name)


@pytest.mark.parametrize("name", ["data", "./data", "../data", "a/b/c", "/data", "org/", "~/data"])
def test_a_mistyped_folder_is_not_looked_for_on_the_hub(name: str) -> None:
    assert not is_hub_id(name)


ALLOWED = {
    "public": {"public", "gated", "private"},
    "gated": {"gated", "private"},
    "private": {"private"},
}


@pytest.mark.parametrize("visibility", ["public", "gated", "private"])
@pytest.mark.parametrize("redistribution", ALLOWED)
def test_a_corpus_goes_only_where_its_terms_let_it(
    redistribution: str, visibility: Visibility
) -> None:
    holdings = [("ravdess", "public"), ("other", redistribution)]
    if visibility in ALLOWED[redistribution]:
        check_redistribution("org/data", visibility, holdings)
        return
    with pytest.raises(InputError) as refused:
        check_redistribution("org/data", visibility, holdings)
    assert f"org/data is {visibility}" in str(refused.value)
    assert f"other may only go into a {redistribution} repository" in str(refused.value)
    assert "ravdess" not in str(refused.value) and "--private" in str(refused.value)


def test_all_corpora_that_may_not_go_are_named_at_once() -> None:
    holdings = [("a", "private"), ("b", "gated"), ("c", "private"), ("d", "public")]
    with pytest.raises(InputError, match=r"b may only .* gated .*, and a, c may only .* private"):
        check_redistribution("org/data", "public", holdings)


@pytest.mark.parametrize(
    ("licences", "strictest"),
    [
        (["CC0-1.0"], "cc0-1.0"),
        (["CC-BY-NC-SA-4.0", "ODbL-1.0"], "cc-by-nc-sa-4.0"),
        (["CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0"], "cc-by-nc-nd-4.0"),
        (["ODbL-1.0", "LicenseRef-EmoFilm-EULA"], "other"),
        (["CC0-1.0", "a licence of 2031"], "other"),
    ],
)
def test_what_is_made_of_several_is_bound_by_the_strictest(
    licences: list[str], strictest: str
) -> None:
    assert strictest_licence(licences) == strictest
