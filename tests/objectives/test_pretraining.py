"""Pretraining: what is withheld depends on the sample alone, and the loss not on the grouping."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import STEADY

from molnb.errors import InputError
from molnb.models.model import Model
from molnb.models.unimol2.encoder import make_two_track
from molnb.objectives.geometry import centred
from molnb.objectives.pretraining import Pretrain, token_scores


def test_what_is_hidden_depends_on_the_sample_and_not_on_its_company(corpus):
    objective = Pretrain()
    crowd = objective.corrupt(corpus.batch(np.array([4, 8, 15])), 3, 11)
    alone = objective.corrupt(corpus.batch(np.array([8])), 3, 11)
    atoms = crowd.batch.mol_of_atom() == 1
    assert torch.equal(crowd.hidden[atoms], alone.hidden)
    assert torch.allclose(crowd.noisy[atoms], alone.noisy, atol=1e-6)
    assert crowd.visible[1] == alone.visible[0]
    assert not torch.equal(alone.noisy, objective.corrupt(alone.batch, 3, 12).noisy)


def test_shares_and_noise_are_those_that_were_set(corpus):
    batch = corpus.batch(np.arange(corpus.n))
    masked = [Pretrain(noise_angstrom=0.2).corrupt(batch, 0, step) for step in range(20)]
    hidden = torch.cat([m.hidden for m in masked]).double().mean()
    visible = torch.cat([m.visible for m in masked]).double().mean()
    assert float(hidden) == pytest.approx(0.15, abs=0.005)
    assert float(visible) == pytest.approx(0.5, abs=0.05)
    displacement = torch.cat([m.noisy - centred(batch) for m in masked])
    # aligning takes out six of the 3 n degrees of freedom, so the rest is a little under 0.2 Å
    assert 0.15 < float(displacement.std()) < 0.2


def test_nothing_masked_is_no_nan(corpus):
    smallest = np.array([int(np.argmin(corpus.n_atoms))])
    objective = Pretrain(mask_share=0.0)
    masked = objective.corrupt(corpus.batch(smallest), 0, 0)
    terms = objective.loss_terms(Model(*make_two_track(STEADY)), masked)
    assert terms["token_ce_nats"].count == 0
    assert float(terms["token_ce_nats"].total.detach()) == 0.0
    nothing = token_scores(torch.zeros(0, 128), torch.zeros(0, dtype=torch.long))
    assert nothing["token_accuracy"] == 0


def test_the_loss_does_not_depend_on_the_grouping(corpus):
    torch.manual_seed(0)
    objective = Pretrain()
    model = Model(*make_two_track(STEADY)).eval()
    ids = np.arange(12)

    def summed(groups: list[np.ndarray]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for group in groups:
            masked = objective.corrupt(corpus.batch(group), 1, 2)
            for name, term in objective.loss_terms(model, masked).items():
                sums[name] = sums.get(name, 0.0) + float(term.total.detach())
        return sums

    whole = summed([ids])
    parts = summed([ids[:5], ids[5:6], ids[6:]])
    assert whole == pytest.approx(parts, rel=1e-5)


def test_impossible_shares_are_refused():
    with pytest.raises(InputError, match="mask_share is 1.5"):
        Pretrain(mask_share=1.5)
    with pytest.raises(InputError, match="noise_angstrom is -1.0"):
        Pretrain(noise_angstrom=-1.0)
