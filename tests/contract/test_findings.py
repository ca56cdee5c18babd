"""The 14 findings, once and in one order."""

from contract.findings import CATALOGUE, FINDINGS

# Written out once more: trained weights, tables and answers all depend on this order.
ORDER = (
    "Cardiomegaly Emphysema Effusion Hernia Infiltration Mass Nodule Atelectasis Pneumothorax "
    "Pleural_Thickening Pneumonia Fibrosis Edema Consolidation"
).split()

# Verhoeff's dihedral group of ten and its permutations, with which SNOMED CT ends every id.
MULTIPLY = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
]
PERMUTE = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]


def checks(number):
    state, permutation = 0, list(range(10))
    for digit in reversed(number):
        state = MULTIPLY[state][permutation[int(digit)]]
        permutation = [PERMUTE[p] for p in permutation]
    return state == 0


def test_the_findings_stand_in_the_order_of_the_trained_weights():
    assert list(FINDINGS) == ORDER


def test_no_code_is_given_twice():
    for codes in zip(*CATALOGUE, strict=True):
        given = [code for code in codes if code is not None]
        assert len(set(given)) == len(given)


def test_snomed_ct_codes_carry_the_right_check_digit():
    assert all(checks(finding.snomed_ct) for finding in CATALOGUE if finding.snomed_ct)


def test_radlex_codes_have_their_form():
    codes = [finding.radlex for finding in CATALOGUE if finding.radlex]
    assert all(code.startswith("RID") and code[3:].isdigit() for code in codes)
