package dev.turningpoint.weights;

import tools.jackson.databind.JsonNode;

/** Sizes of a {@code config.json}. */
record ConfigValues(String file, JsonNode config) {
    /** A size of at least 1 and at most a million. */
    int size(String key) {
        JsonNode value = config.path(key);
        if (value.isMissingNode()) throw new WeightsException(file, "does not say '" + key + "'");
        if (!value.isInt() || value.asInt() < 1 || value.asInt() > 1_000_000) throw new WeightsException(file, key + " is " + value + "; a whole number from 1 to 1,000,000 may stand there");
        return value.asInt();
    }
}
