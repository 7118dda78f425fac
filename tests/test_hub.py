"""What a Hub id looks like."""

import pytest

from ser_generalize.hub import is_hub_id


@pytest.mark.parametrize("name", ["openai/whisper-base", "org/data_2.1"])
def test_org_and_name_may_be_asked_for(name: str) -> None:
    assert is_hub_id(name)


@pytest.mark.parametrize("name", ["data", "./data", "../data", "a/b/c", "/data", "org/", "~/data"])
def test_a_mistyped_folder_is_not_looked_for_on_the_hub(name: str) -> None:
    assert not is_hub_id(name)
