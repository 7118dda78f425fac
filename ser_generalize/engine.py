"""Running an `embed`: the processes open everything, share out the shards, and merge what they say.

Each process writes shards of its own; the first one holds the store, and writes the manifest last.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ser_generalize.clips import Clips, Shard, open_clips
from ser_generalize.command import progress_bar
from ser_generalize.decoding import Decoders, peak_memory
from ser_generalize.degradation import Degradation
from ser_generalize.embeddings import (
    StoreKey,
    held_clips,
    skipped_clips,
    writable,
    write_manifest,
)
from ser_generalize.encoder import DTYPES, WINDOWS, Encoder, Settings, load_encoder
from ser_generalize.errors import InputError, listing, one_of
from ser_generalize.launch import in_step, processes, share_of_cores
from ser_generalize.pipeline import Pipeline, Tally

WORKERS_OF_A_GPU = 4  # at most; on a CPU the encoder has more use for the cores


@dataclass(frozen=True)
class Job:
    """What to embed, with what, into what."""

    dataset: str
    encoder: str
    store: Path
    corpora: Sequence[str] | None
    settings: Settings
    workers: int | None  # None: as many as the device has use for
    streaming: bool
    degradation: Degradation

    def check(self) -> None:
        """Raise InputError for a name or number that means nothing, before anything is loaded."""
        one_of("window", self.settings.window, WINDOWS)
        one_of("dtype", self.settings.dtype or DTYPES[0], DTYPES)
        if self.workers is not None and self.workers < 0:
            raise InputError(f"--workers {self.workers} is no number of processes; give 0 or more")


def run_job(job: Job) -> Tally:
    """Embed what a store does not hold yet; returns what all processes together did."""
    job.check()
    with processes() as accelerator, ExitStack() as stack:
        first = accelerator.is_main_process
        clips, encoder = in_step(lambda: _open(job, accelerator))
        key = _key(encoder, job.degradation.name)
        in_step(lambda: stack.enter_context(writable(job.store)) if first else None)
        held = in_step(lambda: held_clips(job.store, key))
        todo = _todo(clips, held)[accelerator.process_index :: accelerator.num_processes]
        tally = in_step(lambda: _embed(job, accelerator, clips, encoder, todo))
        tally = sum(gather_object([tally]), Tally())
        tally.skipped.sort(key=lambda item: item["clip_id"])
        in_step(lambda: _merge(job, key, clips, tally) if first else None)
    return tally


def _open(job: Job, accelerator: Accelerator) -> tuple[Clips, Encoder]:
    clips = open_clips(job.dataset, job.corpora, job.streaming)
    return clips, load_encoder(job.encoder, job.settings, str(accelerator.device))


def _key(encoder: Encoder, degradation: str) -> StoreKey:
    settings = encoder.settings
    assert settings.margin is not None and settings.dtype is not None
    return StoreKey(
        encoder.name,
        encoder.revision,
        settings.window,
        settings.margin,
        encoder.layers,
        encoder.statistics,
        encoder.width,
        settings.dtype,
        degradation,
    )


def _todo(clips: Clips, held: set[tuple[str, str]]) -> list[Shard]:
    """Return what is left of every shard; what a store holds stays where it is."""
    left = (
        [clip for clip in shard if (clip.clip_id, clip.sha256) not in held]
        for shard in clips.shards
    )
    return [shard for shard in left if shard]


def _embed(
    job: Job, accelerator: Accelerator, clips: Clips, encoder: Encoder, shards: Sequence[Shard]
) -> Tally:
    total, show = sum(map(len, shards)), accelerator.is_local_main_process
    with (
        Decoders(_workers(job, accelerator), job.degradation) as decoders,
        _device_thread(accelerator) as device,
        progress_bar(total, "embed", "clip", show) as progress,
    ):
        pipeline = Pipeline(
            encoder, _key(encoder, job.degradation.name), job.store, decoders, device, progress
        )
        tally = pipeline.run(clips, shards)
    tally.peak_memory = peak_memory() + decoders.peak_memory
    return tally


def _device_thread(accelerator: Accelerator) -> ThreadPoolExecutor:
    """Return the one thread that runs the encoder, which spreads out over this process's cores."""
    threads = torch.get_num_threads()
    if accelerator.num_processes > 1:  # then the launcher has set it to 1
        threads = share_of_cores(accelerator)
    return ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))


def _workers(job: Job, accelerator: Accelerator) -> int:
    if job.workers is not None:
        return job.workers
    if accelerator.device.type == "cpu":
        return 0
    return min(WORKERS_OF_A_GPU, max(1, share_of_cores(accelerator) - 1))


def _merge(job: Job, key: StoreKey, clips: Clips, tally: Tally) -> None:
    """Write the manifest, once everything that it says is there."""
    planned = [clip for shard in clips.shards for clip in shard]
    skipped = {item["clip_id"] for item in tally.skipped}
    held = held_clips(job.store, key)
    kept = [clip for clip in planned if clip.clip_id not in skipped]
    lost = [clip.clip_id for clip in kept if (clip.clip_id, clip.sha256) not in held]
    if lost:
        raise InputError(
            f"{len(lost)} clips that other processes embedded are not in {job.store} "
            f"({listing(lost, 3)}); give a folder that all machines share"
        )
    judged = {clip.clip_id for clip in planned}
    earlier = [item for item in skipped_clips(job.store) if item["clip_id"] not in judged]
    write_manifest(job.store, key, earlier + tally.skipped)
