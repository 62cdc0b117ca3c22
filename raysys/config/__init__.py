"""Settings: frozen pydantic models that refuse unknown keys and name the nearest known one.

A `PipelineConfig` is everything that leads from a dataset to a release; the resolved one is saved
in the release. `ServingConfig` is everything that leads from a release to an answer.
"""

from raysys.config.base import (
    DEFAULT_APPLICATION,
    DEFAULT_CAMPAIGN,
    DEFAULT_DATASET_GROUP,
    Config,
    ExplorationPolicy,
    ResourceName,
    check_dataset_group_name,
)
from raysys.config.feedback import EventType, FeedbackConfig
from raysys.config.gate import GateConfig
from raysys.config.learning import LearningConfig
from raysys.config.models import (
    CountedConfig,
    EnsembleConfig,
    GruConfig,
    ItemToItemConfig,
    LearntHistories,
    MemberConfig,
    ModelConfig,
    PopularityConfig,
    SequenceConfig,
    TransformerConfig,
    TrendingConfig,
    TwoTowerConfig,
    reads_context,
    reads_event_types,
)
from raysys.config.pipeline import EvaluationConfig, IndexConfig, PipelineConfig
from raysys.config.reading import load_config, load_yaml, parse_config
from raysys.config.serving import (
    Authentication,
    CampaignConfig,
    CampaignsConfig,
    ServingConfig,
    VariantConfig,
)
from raysys.config.splits import (
    DrawnSplit,
    LeaveLastOut,
    RandomSplit,
    SequentialExamples,
    SplitConfig,
    TimeSplit,
    UserSplit,
)
from raysys.config.training import TrainingConfig

__all__ = [
    "Authentication",
    "CampaignConfig",
    "CampaignsConfig",
    "Config",
    "CountedConfig",
    "DEFAULT_APPLICATION",
    "DEFAULT_CAMPAIGN",
    "DEFAULT_DATASET_GROUP",
    "DrawnSplit",
    "EnsembleConfig",
    "EvaluationConfig",
    "EventType",
    "ExplorationPolicy",
    "FeedbackConfig",
    "GateConfig",
    "GruConfig",
    "IndexConfig",
    "ItemToItemConfig",
    "LearningConfig",
    "LearntHistories",
    "LeaveLastOut",
    "MemberConfig",
    "ModelConfig",
    "PipelineConfig",
    "PopularityConfig",
    "RandomSplit",
    "ResourceName",
    "SequenceConfig",
    "SequentialExamples",
    "ServingConfig",
    "SplitConfig",
    "TimeSplit",
    "TrainingConfig",
    "TransformerConfig",
    "TrendingConfig",
    "TwoTowerConfig",
    "UserSplit",
    "VariantConfig",
    "check_dataset_group_name",
    "load_config",
    "load_yaml",
    "parse_config",
    "reads_context",
    "reads_event_types",
]
