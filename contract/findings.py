"""The 14 findings of ChestX-ray14, in the one order that every array, table and answer uses."""

from typing import Final, NamedTuple


class Finding(NamedTuple):
    """One finding with its codes.

    `name` is the NIH label; `snomed_ct` a SNOMED CT concept id and `radlex` a RadLex id, or None
    where no verified code exists. A terminologist must confirm them before clinical use.
    """

    name: str
    snomed_ct: str | None
    radlex: str | None


CATALOGUE: Final = (
    Finding("Cardiomegaly", "8186001", None),
    Finding("Emphysema", "87433001", "RID4799"),
    Finding("Effusion", "60046008", "RID34539"),
    Finding("Hernia", "39839004", "RID4895"),
    Finding("Infiltration", "409609008", None),
    Finding("Mass", "309529002", "RID3874"),
    Finding("Nodule", "427359005", "RID50149"),
    Finding("Atelectasis", "46621007", "RID28493"),
    Finding("Pneumothorax", "36118008", "RID5352"),
    Finding("Pleural_Thickening", None, "RID28509"),
    Finding("Pneumonia", "233604007", "RID5350"),
    Finding("Fibrosis", "51615001", "RID3820"),
    Finding("Edema", "19242006", "RID4866"),
    Finding("Consolidation", "95436008", "RID43255"),
)

FINDINGS: Final[tuple[str, ...]] = tuple(finding.name for finding in CATALOGUE)
