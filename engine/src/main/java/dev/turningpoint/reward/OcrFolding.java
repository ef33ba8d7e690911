package dev.turningpoint.reward;

import dev.turningpoint.reward.OnnxGraph.Constant;
import dev.turningpoint.reward.OnnxGraph.Node;
import java.util.List;

/**
 * Rewrites PP-OCRv4 into the same function with fewer operations before ONNX Runtime loads it, which leaves them as they are: scales and offsets around a
 * convolution go into its weights, {@code x clip(x + 3, 0, 6) / 6} becomes {@code x hardsigmoid(x)}, and of the last layer only the columns that decoding
 * looks at are computed, without the softmax, which does not change which is largest. Probabilities move by 5e-6, a word takes three quarters of the time.
 */
final class OcrFolding {
    private final OnnxGraph graph;

    private OcrFolding(OnnxGraph graph) {
        this.graph = graph;
    }

    /** @param classes whose scores to compute, in this order; null keeps all as probabilities */
    static byte[] fold(byte[] model, int[] classes) {
        var folding = new OcrFolding(new OnnxGraph(model));
        List<Node> convolutions = folding.graph.nodes.stream().filter(n -> n.op.equals("Conv")).toList();
        convolutions.forEach(folding::foldAffineAfter);
        folding.shortenHardSwish();
        convolutions.forEach(folding::foldAffineBefore);
        if (classes != null) folding.keepClasses(classes);
        return folding.graph.toBytes();
    }

    /** {@code s conv(x) + b}: into weights and bias. */
    private void foldAffineAfter(Node conv) {
        while (true) {
            List<Node> users = graph.users(conv.output());
            if (users.size() != 1 || !isScalarOperation(users.getFirst())) return;
            Node affine = users.getFirst();
            float value = scalarOf(affine);
            boolean scales = affine.op.equals("Mul");
            if (!scales && graph.users(affine.output()).stream().anyMatch(n -> n.op.equals("Clip"))) return;   // the 3 of a hard swish
            if (scales) scaleWeights(conv, value);
            Constant bias = bias(conv);
            float[] values = bias.values().clone();
            for (int i = 0; i < values.length; i++) values[i] = scales ? values[i] * value : values[i] + value;
            conv.inputs.set(2, graph.add(conv.inputs.get(2), bias.shape(), values));
            conv.outputs.set(0, affine.output());
            graph.nodes.remove(affine);
        }
    }

    private void shortenHardSwish() {
        for (Node division : List.copyOf(graph.nodes)) {
            if (!division.op.equals("Div") || !graph.isScalar(division.inputs.get(1)) || graph.constant(division.inputs.get(1)).values()[0] != 6) continue;
            Node product = graph.producer(division.inputs.get(0));
            if (product == null || !product.op.equals("Mul")) continue;
            Node clip = product.inputs.stream().map(graph::producer).filter(n -> n != null && n.op.equals("Clip")).findFirst().orElse(null);
            Node sum = clip == null ? null : graph.producer(clip.inputs.getFirst());
            if (sum == null || !sum.op.equals("Add")) continue;
            String x = product.other(clip.output());
            boolean hardSwish = sum.inputs.contains(x) && isConstant(sum.other(x), 3) && isConstant(clip.inputs.get(1), 0) && isConstant(clip.inputs.get(2), 6)
                    && graph.users(product.output()).size() == 1 && graph.users(clip.output()).size() == 1 && graph.users(sum.output()).size() == 1;
            if (!hardSwish) continue;
            var sigmoid = new Node("HardSigmoid").attribute("alpha", 1 / 6f).attribute("beta", 0.5f);
            sigmoid.inputs.add(x);
            sigmoid.outputs.add(clip.output());
            graph.nodes.set(graph.nodes.indexOf(sum), sigmoid);
            graph.nodes.remove(clip);
            product.outputs.set(0, division.output());
            graph.nodes.remove(division);
        }
    }

    /** {@code conv(s x + b)}: s into the weights; b into the bias, or, where padding adds zeros that have no b, before the scale. */
    private void foldAffineBefore(Node conv) {
        while (true) {
            String input = conv.inputs.getFirst();
            Node affine = graph.producer(input);
            if (affine == null || !isScalarOperation(affine) || graph.users(input).size() != 1) return;
            float value = scalarOf(affine);
            String x = graph.isScalar(affine.inputs.get(0)) ? affine.inputs.get(1) : affine.inputs.get(0);
            if (affine.op.equals("Mul")) {
                scaleWeights(conv, value);
            } else if (!conv.hasNonZero("pads")) {
                Constant weights = graph.constant(conv.inputs.get(1)), bias = bias(conv);
                float[] values = bias.values().clone();
                int n = weights.values().length / values.length;
                for (int o = 0; o < values.length; o++) {
                    double sum = 0;
                    for (int i = 0; i < n; i++) sum += weights.values()[o * n + i];
                    values[o] += (float) (sum * value);
                }
                conv.inputs.set(2, graph.add(conv.inputs.get(2), bias.shape(), values));
            } else {
                Node scale = graph.producer(x);
                if (scale == null || !scale.op.equals("Mul") || !isScalarOperation(scale) || graph.users(x).size() != 1) return;
                float s = scalarOf(scale);
                scaleWeights(conv, s);   // conv(s x + b) = s conv(x + b / s)
                String source = graph.isScalar(scale.inputs.get(0)) ? scale.inputs.get(1) : scale.inputs.get(0);
                affine.inputs.clear();
                affine.inputs.add(source);
                affine.inputs.add(graph.add(affine.output() + ".offset", new long[] {1}, new float[] {value / s}));
                graph.nodes.remove(scale);
                return;
            }
            conv.inputs.set(0, x);
            graph.nodes.remove(affine);
        }
    }

    /** The end of the network, matrix product, bias and softmax, for some columns and without softmax. */
    private void keepClasses(int[] classes) {
        Node softmax = graph.nodes.getLast(), sum = graph.producer(softmax.inputs.getFirst()), product = sum == null ? null : graph.producer(sum.inputs.getFirst());
        if (!softmax.op.equals("Softmax") || product == null || !sum.op.equals("Add") || !product.op.equals("MatMul"))
            throw new RewardException("the OCR model does not end in a matrix product, a bias and a softmax: it is not PP-OCRv4 recognition");
        Constant weights = graph.constant(product.inputs.get(1)), bias = graph.constant(sum.inputs.get(1));
        int rows = (int) weights.shape()[0], columns = (int) weights.shape()[1], n = classes.length;
        float[] w = new float[rows * n], b = new float[n];
        for (int c = 0; c < n; c++) {
            b[c] = bias.values()[classes[c]];
            for (int r = 0; r < rows; r++) w[r * n + c] = weights.values()[r * columns + classes[c]];
        }
        product.inputs.set(1, graph.add(product.inputs.get(1), new long[] {rows, n}, w));
        sum.inputs.set(1, graph.add(sum.inputs.get(1), new long[] {n}, b));
        graph.nodes.remove(softmax);
        sum.outputs.set(0, softmax.output());
    }

    private void scaleWeights(Node conv, float scale) {
        Constant weights = graph.constant(conv.inputs.get(1));
        float[] values = weights.values().clone();
        for (int i = 0; i < values.length; i++) values[i] *= scale;
        conv.inputs.set(1, graph.add(conv.inputs.get(1), weights.shape(), values));
    }

    /** The convolution's bias; zeros become one where there is none. */
    private Constant bias(Node conv) {
        if (conv.inputs.size() < 3) {
            long channels = graph.constant(conv.inputs.get(1)).shape()[0];
            conv.inputs.add(graph.add(conv.inputs.get(1) + ".bias", new long[] {channels}, new float[(int) channels]));
        }
        return graph.constant(conv.inputs.get(2));
    }

    /** A product or sum of a value and one number. */
    private boolean isScalarOperation(Node n) {
        return (n.op.equals("Mul") || n.op.equals("Add")) && n.inputs.stream().filter(graph::isScalar).count() == 1;
    }

    private float scalarOf(Node n) {
        return graph.constant(n.inputs.get(graph.isScalar(n.inputs.get(0)) ? 0 : 1)).values()[0];
    }

    private boolean isConstant(String name, float value) {
        return graph.isScalar(name) && graph.constant(name).values()[0] == value;
    }
}
