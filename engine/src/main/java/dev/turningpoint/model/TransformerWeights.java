package dev.turningpoint.model;

import dev.turningpoint.tensor.ParameterLayout;
import dev.turningpoint.tensor.ParameterLayout.Slot;
import java.util.List;

/**
 * Names, shapes and places of a network's parameters. All modulation layers read the same conditioning vector; their weights are neighbours, so that the forward sees
 * one matrix {@link #modulation} of {@link #modulationSize} rows.
 */
interface TransformerWeights {
    ParameterLayout layout();

    /** All modulation weights as one matrix [modulationSize, D]. */
    Slot modulation();

    Slot modulationBias();

    /** Length of one sample's modulation vector. */
    default int modulationSize() {
        return Math.toIntExact(modulationBias().elements());
    }

    /** First element of a modulation layer's chunks in the modulation vector. */
    default int modulationOffset(String layer) {
        return Math.toIntExact(layout().slot(layer + ".bias").offset() - modulationBias().offset());
    }

    /** The layers that a layer of the forward computes at once, in the order of its rows; of most layers itself. */
    default List<String> parts(String layer) {
        return List.of(layer);
    }
}
