"""Choose the records, their preparation and the objective for each kind of training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from model.checkpoint.config_file import described
from model.checkpoint.internlm_tokenizer import checkpoint_tokenizer
from ttscaling.records.bad_records import BadRecords
from ttscaling.records.chats import parse_chat
from ttscaling.records.judged_steps import parse_judged
from ttscaling.records.meta import DataSet
from ttscaling.records.pairs import parse_pair
from ttscaling.train.checkpoints.files import require_files
from ttscaling.train.objectives.judgement import Judgement
from ttscaling.train.objectives.next_token import NextToken
from ttscaling.train.objectives.objective import Objective
from ttscaling.train.objectives.preference import Preference
from ttscaling.train.packs.draw_order import DrawOrder
from ttscaling.train.packs.mixture import Mixture, Shard
from ttscaling.train.packs.pack_stream import Corpus, PackStream
from ttscaling.train.samples.chat_encoder import ChatEncoder
from ttscaling.train.samples.chat_samples import Preparation, chat_sample
from ttscaling.train.samples.critic_chats import label_steps, labels_of_chat
from ttscaling.train.samples.critic_samples import critic_sample
from ttscaling.train.samples.pair_samples import pair_sample
from ttscaling.train.settings.kinds import CriticData, Kind, MpoWeights
from ttscaling.train.settings.recipe import Recipe


@dataclass(frozen=True)
class TrainingTask:
    """The data, the objective and the recipe of a run."""

    corpus: Corpus[Any, Any]
    objective: Objective
    recipe: Recipe

    @cached_property
    def order(self) -> DrawOrder:
        """The order of the draws: exact passes for epochs, and draws by weight for a number of steps."""
        recipe = self.recipe
        return DrawOrder(self.corpus.sources(), seed=recipe.seed, exact=recipe.epochs is not None)

    @property
    def draws(self) -> int | None:
        """Return the number of draws of the run, or None if the number of steps ends it."""
        epochs = self.recipe.epochs
        return None if epochs is None else max(1, round(epochs * self.order.one_pass))

    def stream(self, index: int) -> PackStream:
        """Return the stream with this index, from its first pack on.

        A run has `recipe.num_streams` streams for any number of processes. A stream only counts its bad
        records, and the run decides on the counts of all streams. A stream raises TooManyBadRecordsError only
        if its first 1,000 records are all bad or too long.
        """
        mixture = Mixture(self.order, shard=Shard(index, self.recipe.num_streams), limit=self.draws)
        return PackStream(self.corpus, mixture, self.recipe.limits, BadRecords(allowed=1.0))


def make_task(
    kind: Kind,
    checkpoint: Path,
    data_sets: Sequence[DataSet],
    recipe: Recipe,
    *,
    critic: CriticData | None = None,
    mpo: MpoWeights | None = None,
) -> TrainingTask:
    """Return the task for a kind of training of the model in `checkpoint`.

    Args:
        kind: the kind of training.
        checkpoint: folder of the model to train.
        data_sets: data in the format that the kind reads.
        recipe: the settings of the run.
        critic: how a critic's records are read; None means the defaults.
        mpo: the weights of the MPO loss; None means the published ones.

    Raises:
        ValueError: this checkpoint can't be trained in this way.
        OSError: the checkpoint or the data can't be read.
    """
    critic = critic or CriticData()
    preparation = preparation_of(checkpoint, recipe, system=critic.system if kind == "critic" else None)
    image_token = preparation.encoder.image_token
    if kind == "critic":
        judgement = Judgement(
            image_token=image_token,
            labels=[preparation.encoder.ids(label)[0] for label in critic.labels],
            full=critic.loss == "full",
            text=critic.text_weight > 0,
            early_weight=critic.early_weight,
        )
        return TrainingTask(_critic_corpus(data_sets, preparation, recipe, critic), judgement, recipe)
    if kind == "mpo":
        pairs = Corpus(
            data_sets,
            parse_pair,
            lambda record, data_set, rng: pair_sample(record, data_set, preparation, rng),
            seed=recipe.seed,
        )
        return TrainingTask(pairs, Preference(image_token=image_token, weights=mpo or MpoWeights()), recipe)
    chats = Corpus(
        data_sets,
        parse_chat,
        lambda record, data_set, rng: chat_sample(
            record, data_set, preparation, rng, all_text=kind == "pretrain"
        ),
        seed=recipe.seed,
    )
    return TrainingTask(chats, NextToken(image_token=image_token), recipe)


def preparation_of(checkpoint: Path, recipe: Recipe, *, system: str | None = None) -> Preparation:
    """Return how records become samples for the model in `checkpoint`.

    Tiling, tokens per tile and system message are those that the checkpoint describes. `recipe.image_tiles`
    lowers or raises the limit of tiles. `system` takes the place of the system message, and an empty one puts
    nothing there.

    Raises:
        ValueError: the tokenizer isn't InternVL's, the model can't be built with a value in the config, or a
            file of the checkpoint is damaged.
        OSError: a file is missing.
    """
    require_files(checkpoint)
    description = described(checkpoint)
    tiling = description.tiling
    if recipe.image_tiles is not None:
        max_tiles = recipe.image_tiles
        tiling = replace(tiling, min_tiles=min(tiling.min_tiles, max_tiles), max_tiles=max_tiles)
    tokenizer = checkpoint_tokenizer(checkpoint)
    message = description.system_message if system is None else system
    encoder = ChatEncoder(tokenizer, tokens_per_tile=description.tokens_per_tile, system=message or None)
    return Preparation(encoder=encoder, tiling=tiling, average=recipe.average, deltas=recipe.deltas)


def _critic_corpus(
    data_sets: Sequence[DataSet], preparation: Preparation, recipe: Recipe, critic: CriticData
) -> Corpus[Any, Any]:
    def prepare(record: Any, data_set: DataSet, rng: Any) -> Any:
        return critic_sample(
            record, data_set, preparation, rng, history=critic.history, text_weight=critic.text_weight
        )

    if critic.form == "chats":

        def labelled(data: Any) -> Any:
            return labels_of_chat(parse_chat(data), critic.labels, system=critic.system)

        return Corpus(data_sets, labelled, prepare, seed=recipe.seed)
    label = partial(
        label_steps,
        labelling=critic.labelling,
        threshold=critic.threshold,
        early_stop=critic.early_stop,
    )
    return Corpus(data_sets, lambda data: label(parse_judged(data)), prepare, seed=recipe.seed)
