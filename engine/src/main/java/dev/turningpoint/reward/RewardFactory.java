package dev.turningpoint.reward;

import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

/**
 * Makes the rewards of one kind. Our own kinds and those on the class path are found the same way, by {@link ServiceLoader}: name your factory in
 * {@code META-INF/services/dev.turningpoint.reward.RewardFactory}, and a configuration may say {@code kind}.
 */
public interface RewardFactory {

    /** What {@code kind} says in a configuration: lower case, words joined by hyphens. */
    String kind();

    /**
     * Makes a reward: reads its options, opens its models.
     *
     * @throws RewardException if an option or a model will not do; the message names the option
     */
    Reward create(RewardSettings settings);

    /** Options that say where scores come from and not what they are: a run that goes on may change them. */
    default List<String> transport() {
        return List.of();
    }

    /** The kinds that a configuration can name, sorted. */
    static List<String> kinds() {
        return all().stream().map(RewardFactory::kind).sorted().toList();
    }

    private static List<RewardFactory> all() {
        try {
            return ServiceLoader.load(RewardFactory.class).stream().map(ServiceLoader.Provider::get).toList();
        } catch (ServiceConfigurationError e) {
            throw new RewardException("a kind of reward on the class path cannot be used: " + e.getMessage(), e);
        }
    }

    /** @throws RewardException if there is no factory of the kind, or more than one */
    static RewardFactory of(String kind) {
        List<RewardFactory> found = all().stream().filter(f -> f.kind().equals(kind)).toList();
        if (found.size() == 1) return found.getFirst();
        throw new RewardException(found.isEmpty() ? "'" + kind + "' is not a kind of reward; there are: " + String.join(", ", kinds())
                : "the kind of reward '" + kind + "' has " + found.size() + " factories on the class path: " + found.get(0).getClass().getName() + ", " + found.get(1).getClass().getName());
    }
}
