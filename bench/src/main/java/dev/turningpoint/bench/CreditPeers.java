package dev.turningpoint.bench;

import static dev.turningpoint.bench.Case.Kind.SCAN;
import static dev.turningpoint.bench.Torch.f32;
import static dev.turningpoint.bench.Torch.plus;
import static dev.turningpoint.bench.Torch.times;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** {@code credit.cu} beside the same vectorised over trajectories and steps (the reference code loops over them in Python). */
final class CreditPeers {

    /** Of the registry's cases: the factor of the bonus, the limit of an advantage, and how many sampling batches there are. */
    private static final double ETA = 0.5, LIMIT = 1.5;
    private static final int BATCHES = 2;

    private CreditPeers() {}

    static void addTo(List<Case> cases) {
        for (String size : List.of("glyph", "sd35")) {
            cases.add(Case.of("turning points, step rewards", "credit.credit_scan." + size, SCAN, CreditPeers::scan));
            cases.add(Case.of("step rewards, balanced", "credit.step_rewards_balanced." + size, SCAN, in -> balanced(in, false)));
            cases.add(Case.of("step rewards, balanced and spread", "credit.step_rewards_propagated." + size, SCAN, in -> balanced(in, true)));
            cases.add(Case.of("group advantages", "credit.advantages." + size, SCAN, in -> advantages(in, false)));
            cases.add(Case.of("group advantages, global std", "credit.advantages_global_std." + size, SCAN, in -> advantages(in, true)));
        }
        cases.add(Case.of("turning points, step rewards", "credit.credit_scan.dram", SCAN, CreditPeers::scan));
    }

    private static Scalar zero() {
        return new Scalar(0f);
    }

    private static Eager scan(Inputs in) {
        Tensor rewards = in.tensor("rewards", in.dimension("batch"), in.dimension("n") + 1);
        return Eager.of(() -> {
            var r = new Rewards(rewards);
            Tensor turns = r.turningPoints();
            return new Tensor[] {torch.where(turns, r.gain, r.difference), f32(turns)};
        }, "reward", "indicator");
    }

    /** Differences of a [batch, n + 1] table of rewards. */
    private static final class Rewards {
        final long n;
        final Tensor difference, gain, left, trend;

        Rewards(Tensor rewards) {
            n = rewards.size(1) - 1;
            Tensor before = rewards.narrow(1, 0, n), after = rewards.narrow(1, 1, n), last = rewards.narrow(1, n, 1);
            difference = after.sub(before);
            gain = last.sub(before);
            left = last.sub(after);
            trend = last.sub(rewards.narrow(1, 0, 1));
        }

        /** Consistent turning points, definition 5.1. */
        Tensor turningPoints() {
            Tensor sign = difference.sign(), toTrend = sign.mul(trend.sign());
            Tensor consistent = sign.mul(left.sign()).gt(zero());
            Tensor flip = toTrend.narrow(1, 0, n - 1).lt(zero()).logical_and(toTrend.narrow(1, 1, n - 1).gt(zero()));
            return torch.cat(new TensorVector(consistent.narrow(1, 0, 1), flip.logical_and(consistent.narrow(1, 1, n - 1))), 1);
        }
    }

    private static Eager balanced(Inputs in, boolean spread) {
        int batch = in.dimension("batch"), n = in.dimension("n");
        Tensor rewards = in.tensor("rewards", batch, n + 1), rowBatch = in.tensor("rowBatch", batch);
        var rowsOf = new Tensor[BATCHES];
        for (int b = 0; b < BATCHES; b++) rowsOf[b] = rowBatch.eq(new Scalar(b)).nonzero().flatten();
        return Eager.of(() -> {
            var r = new Rewards(rewards);
            Tensor turns = f32(r.turningPoints()), key = turns.mul(r.gain), kept = turns.clone();
            for (Tensor rows : rowsOf) kept.index_copy_(0, rows, balance(key.index_select(0, rows).flatten(), turns.index_select(0, rows)));
            return spread ? spread(r, kept) : new Tensor[] {torch.where(kept.gt(zero()), times(r.gain, ETA), r.difference), kept};
        }, "reward", "indicator");
    }

    /** One sampling batch: as many positive as negative turning points, those of largest magnitude; all if one sign is missing. */
    private static Tensor balance(Tensor key, Tensor turns) {
        long keep = Math.min(key.gt(zero()).sum().item_long(), key.lt(zero()).sum().item_long());
        if (keep == 0) return turns;
        Tensor kept = torch.zeros_like(key);
        kept.index_fill_(0, torch.topk(key, keep, 0, true, false).get1(), new Scalar(1f));
        kept.index_fill_(0, torch.topk(key, keep, 0, false, false).get1(), new Scalar(1f));
        return kept.view(turns.size(0), turns.size(1));
    }

    /** The bonus of gains spreads to later steps, that of losses to earlier ones. */
    private static Tensor[] spread(Rewards r, Tensor kept) {
        Tensor at = kept.gt(zero()), loss = f32(at.logical_and(r.gain.lt(zero()))), win = f32(at.logical_and(r.gain.gt(zero())));
        Tensor losses = loss.flip(1).cumsum(1).flip(1), wins = win.cumsum(1);
        Tensor bonus = times(losses.mul(r.gain).add(wins.mul(r.gain)), ETA);
        Tensor turns = losses.gt(zero()).logical_or(wins.gt(zero())).logical_or(at);
        return new Tensor[] {torch.where(turns, bonus, r.difference), f32(turns)};
    }

    private static Eager advantages(Inputs in, boolean globalStd) {
        int batch = in.dimension("batch"), n = in.dimension("n"), groups = in.dimension("groups");
        Tensor rewards = in.tensor("reward", batch, n), group = in.tensor("rowGroup", batch).to(torch.ScalarType.Long);
        return Eager.of(() -> {
            Tensor r = rewards.to(torch.ScalarType.Double), none = torch.zeros(groups, n).to(torch.ScalarType.Double);
            Tensor count = torch.bincount(group, new TensorOptional(), groups).unsqueeze(1);
            Tensor mean = none.index_add(0, group, r).div(count).index_select(0, group), d = r.sub(mean);
            Tensor std = globalStd ? r.sub(r.mean(0)).square().mean(0).sqrt() : none.index_add(0, group, d.square()).div(count).sqrt().index_select(0, group);
            return Torch.clamp(d.div(plus(std, 1e-4)), -LIMIT, LIMIT);
        }, "advantage");
    }
}
