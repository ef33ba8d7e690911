package dev.turningpoint.data;

import java.util.ArrayList;
import java.util.List;

/**
 * The trajectories of an iteration: each of its prompts, repeated. Trajectory b of the rollout belongs to prompt b / repeats, whatever the number of ranks; a rank
 * rolls out a run of consecutive ones. So one rank, two or eight of them make the same rollout, and a prompt's group may lie on two ranks.
 *
 * @param prompts of an iteration
 * @param repeats trajectories of a prompt, k
 * @param ranks   processes that share the rollout
 */
public record KRepeat(int prompts, int repeats, int ranks) {
    /** @throws IllegalArgumentException if the ranks cannot have equal shares */
    public KRepeat {
        if (prompts < 1 || repeats < 1 || ranks < 1) throw new IllegalArgumentException(prompts + " prompts, " + repeats + " repeats, " + ranks + " ranks");
        if ((long) prompts * repeats % ranks != 0)
            throw new IllegalArgumentException(prompts + " prompts times " + repeats + " trajectories do not divide among " + ranks + " ranks");
    }

    /** Trajectories of a rank. */
    public int share() {
        return prompts * repeats / ranks;
    }

    /** Number in the rollout of a rank's first trajectory. */
    public int first(int rank) {
        return java.util.Objects.checkIndex(rank, ranks) * share();
    }

    /** Number of the prompt of each of a rank's trajectories, [share]. */
    public int[] group(int rank) {
        var group = new int[share()];
        for (int i = 0; i < group.length; i++) group[i] = (first(rank) + i) / repeats;
        return group;
    }

    /** Prompts of a rank's trajectories, [share]; a function of the iteration's number, so that a resumed run goes on where it was. */
    public List<Prompt> trajectories(Prompts source, long iteration, int rank) {
        List<Prompt> drawn = source.train(iteration, prompts);
        var of = new ArrayList<Prompt>(share());
        for (int g : group(rank)) of.add(drawn.get(g));
        return of;
    }
}
