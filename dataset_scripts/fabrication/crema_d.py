"""CREMA-D: `AudioWAV/1001_IEO_ANG_HI.wav`, 16 kHz, actors' data, and the votes of raters."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dataset_scripts.fabrication.tree import Take, Tree, grid, write
from dataset_scripts.synthesis.channel import Channel
from dataset_scripts.synthesis.randomness import generator
from dataset_scripts.synthesis.words import sentence

CONTRADICTORY = {  # one recording under two emotions, as published
    "1006_TIE_NEU_XX": "1006_TIE_HAP_XX",
    "1013_WSI_SAD_XX": "1013_WSI_DIS_XX",
    "1017_IWW_FEA_XX": "1017_IWW_ANG_XX",
}
NO_SPEECH = "1076_MTI_SAD_XX"
EARLY = ["1001", "1006", "1013", "1017"]  # so that small trees have the contradictions too
ACTORS = EARLY + [f"{number}" for number in range(1002, 1092) if f"{number}" not in EARLY]
EMOTIONS = {
    "ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral",
    "SAD": "sad",
}  # fmt: skip
LETTERS = {emotion: code[0] for code, emotion in EMOTIONS.items()}
PROMPTS = (  # only one sentence was said at three levels
    ("IEO", "MD"), ("TIE", "XX"), ("WSI", "XX"), ("IWW", "XX"), ("IEO", "HI"), ("IOM", "XX"),
    ("TAI", "XX"), ("MTI", "XX"), ("IWL", "XX"), ("ITH", "XX"), ("DFA", "XX"), ("ITS", "XX"),
    ("TSI", "XX"), ("IEO", "LO"),
)  # fmt: skip
INTENSITIES = {"LO": 0.6, "MD": 1.0, "HI": 1.3, "XX": 1.0}
RATERS = 10
PEOPLE = '"ActorID","Age","Sex","Race","Ethnicity"\n'
WINNERS = (
    '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote",'
    '"MultiModalLevel"\n'
)
MEANS = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
COUNTS = '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote",' + ",".join(
    f'"{column}{kind}"'
    for kind in ("", "Norm")
    for column in ("meanEmoResp", *(f"mean{word}Resp" for word in MEANS), "medianEmoResp")
)
QUERIES = (1, 2, 3)  # the voice, the face, both


def takes(speakers: int, clips: int) -> Iterator[Take]:
    """Yield the takes; neutral has no levels."""
    for actor, code, number in grid(ACTORS[:speakers], dict.fromkeys(EMOTIONS, 1), clips):
        prompt, level = PROMPTS[number]
        if code == "NEU" and level in {"HI", "LO"}:
            continue
        name = f"{actor}_{prompt}_{code}_{'XX' if code == 'NEU' else level}"
        original = CONTRADICTORY.get(name)
        if name != NO_SPEECH:
            yield Take(
                path=f"AudioWAV/{name}.wav",
                speaker=actor,
                sex=_sex(actor),
                emotion=EMOTIONS[code],
                text=sentence("en", "crema_d", prompt).phones,
                intensity=INTENSITIES[level],
                votes=tuple(_votes(1, name, EMOTIONS[code]).items()),
                copy_of=f"AudioWAV/{original}.wav" if original else None,
            )


def _sex(actor: str) -> str:
    return "male" if int(actor) % 2 else "female"


def _votes(query: int, name: str, intended: str) -> dict[str, int]:
    """Return how many raters heard what: often the intended emotion, as often neutral."""
    chances = dict.fromkeys(LETTERS, 0.04) | {intended: 0.45}
    chances["neutral"] += 1 - sum(chances.values())
    counts = generator("crema_d", query, name).multinomial(RATERS, list(chances.values()))
    return {emotion: int(count) for emotion, count in zip(chances, counts, strict=True) if count}


def tables(tree: Path, takes: Sequence[Take]) -> None:
    """Write who the actors are, which files there are, and the two tables of votes."""
    actors = sorted({str(take.speaker) for take in takes})
    people = (f'{actor},{20 + int(actor) % 50},"{_sex(actor).title()}","Unknown","Not Hispanic"\n'
              for actor in actors)  # fmt: skip
    write(tree / "VideoDemographics.csv", PEOPLE + "".join(people))
    names = [Path(take.path).stem for take in takes]
    listed = "".join(f'{number},"{name}"\n' for number, name in enumerate(names, 1))
    write(tree / "SentenceFilenames.csv", '"Stimulus_Number","Filename"\n' + listed)
    _write_votes(tree / "processedResults", {
        name: {query: _votes(query, name, take.emotion) for query in QUERIES}
        for name, take in zip(names, takes, strict=True)
    })  # fmt: skip


def _write_votes(folder: Path, heard: Mapping[str, Mapping[int, Mapping[str, int]]]) -> None:
    winners = (
        f'"{number}","{name}",{",".join(_winners(votes[query]) for query in QUERIES)}\n'
        for number, (name, votes) in enumerate(heard.items(), 1)
    )
    write(folder / "summaryTable.csv", WINNERS + "".join(winners))
    counts = (
        _counts(query * 100_000 + number, name, votes[query])
        for query in QUERIES
        for number, (name, votes) in enumerate(heard.items(), 1)
    )
    write(folder / "tabulatedVotes.csv", COUNTS + "\n" + "".join(counts))


def _most(votes: Mapping[str, int]) -> list[str]:
    """Return the letters that most raters chose; several where they are equally many."""
    most = max(votes.values())
    return sorted(LETTERS[emotion] for emotion, count in votes.items() if count == most)


def _winners(votes: Mapping[str, int]) -> str:
    letters = _most(votes)
    return f'"{":".join(letters)}","{":".join(["60.5"] * len(letters))}"'


def _counts(row: int, name: str, votes: Mapping[str, int]) -> str:
    counts = [votes.get(emotion, 0) for emotion in LETTERS]
    levels = [60.5, *(60.5 if count else -1 for count in counts), 60.5]
    numbers = (",".join(map(str, values)) for values in (counts, levels, levels))
    first, *means = numbers
    agreement = max(counts) / RATERS
    return f'"{row}",{first},"{name}",{RATERS},{agreement},"{":".join(_most(votes))}",' + (
        ",".join(means) + "\n"
    )


TREE = Tree(
    len(ACTORS),
    len(PROMPTS),
    Channel(low=110, high=7_500, gain=8, noise=-52, rumble=0.7, decay=0.25, room=-20),
    takes,
    tables,
)
