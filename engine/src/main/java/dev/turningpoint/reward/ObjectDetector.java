package dev.turningpoint.reward;

import ai.onnxruntime.OnnxJavaType;
import dev.turningpoint.image.RgbImage;
import dev.turningpoint.onnx.OnnxModel;
import dev.turningpoint.reward.GenEval.Found;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * An object detector in an ONNX file, with the outputs that torchvision's detectors have. Input {@code image} f32 [1, 3, H, W], red, green and blue in 0..1; an image is
 * resized where H and W are fixed. Outputs, for N objects: {@code boxes} f32 [N, 4], left, top, right and bottom in pixels of the input; {@code labels} i64 [N];
 * {@code scores} f32 [N]; and, if it has them, {@code masks} f32 [N, 1, H, W], above a half where a pixel belongs to the object.
 */
final class ObjectDetector implements AutoCloseable {
    private final OnnxModel model;
    private final List<String> classes;
    private final boolean masks;
    private final int height;   // of the input; not positive: the image's own
    private final int width;

    /** Reads the options {@code detector_model} and {@code classes}, a text file whose line i (from 0) names label i; an empty line names none. */
    ObjectDetector(RewardSettings settings) {
        Path file = settings.file("detector_model", "an ONNX file of an object detector"), names = settings.file("classes", "a text file with the name of a class on each line");
        try {
            classes = Files.readAllLines(names).stream().map(String::strip).toList();
        } catch (IOException e) {
            throw settings.wrong("classes", "names " + names + ", which is no text: " + e.getMessage());
        }
        model = OnnxModel.open(file);
        try {
            model.requireInput("image", OnnxJavaType.FLOAT, 1, 3, -1, -1);
            model.requireNoInputsBut("image");
            model.requireOutput("boxes", OnnxJavaType.FLOAT, -1, 4);
            model.requireOutput("labels", OnnxJavaType.INT64, -1);
            model.requireOutput("scores", OnnxJavaType.FLOAT, -1);
            masks = model.hasOutput("masks");
            if (masks) model.requireOutput("masks", OnnxJavaType.FLOAT, -1, 1, -1, -1);
            long[] shape = model.inputShape("image");
            height = (int) shape[2];
            width = (int) shape[3];
        } catch (RuntimeException | Error e) {
            model.close();
            throw e;
        }
    }

    /** The classes that it knows. */
    List<String> classes() {
        return classes;
    }

    List<Found> find(RgbImage image) {
        int h = height > 0 ? height : image.height(), w = width > 0 ? width : image.width();
        RgbImage given = image.resize(w, h);
        var pixels = new float[3 * h * w];
        for (int c = 0; c < 3; c++) for (int y = 0; y < h; y++) for (int x = 0; x < w; x++) pixels[(c * h + y) * w + x] = given.get(x, y, c) / 255f;
        try (var inputs = new OnnxModel.Inputs(model).floats("image", pixels, 1, 3, h, w)) {
            List<OnnxModel.Output> outputs = masks ? model.run(inputs, "boxes", "labels", "scores", "masks") : model.run(inputs, "boxes", "labels", "scores");
            float[] boxes = outputs.get(0).floats(), scores = outputs.get(2).floats();
            long[] labels = outputs.get(1).longs();
            if (boxes.length != 4 * scores.length || labels.length != scores.length || masks && outputs.get(3).floats().length != scores.length * h * w)
                throw new RewardException(model.name() + " found " + boxes.length / 4 + " boxes, " + labels.length + " labels and " + scores.length + " scores; expected as many of each");
            var found = new ArrayList<Found>();
            for (int i = 0; i < scores.length; i++) {
                if (labels[i] < 0 || labels[i] >= classes.size())
                    throw new RewardException(model.name() + " found an object of label " + labels[i] + "; the file of classes has " + classes.size() + " lines");
                String name = classes.get((int) labels[i]);
                if (name.isEmpty()) continue;
                double sx = (double) image.width() / w, sy = (double) image.height() / h;
                var box = new double[] {boxes[4 * i] * sx, boxes[4 * i + 1] * sy, boxes[4 * i + 2] * sx, boxes[4 * i + 3] * sy};
                for (double edge : box) if (!Double.isFinite(edge)) throw new RewardException(model.name() + " found an object with an edge at " + edge);
                found.add(new Found(name, scores[i], box, masks ? mask(outputs.get(3).floats(), i, h, w, image) : null));
            }
            return found;
        }
    }

    /** The object's mask in the image's own size, the nearest pixel's. */
    private static boolean[] mask(float[] masks, int index, int h, int w, RgbImage image) {
        var mask = new boolean[image.width() * image.height()];
        for (int y = 0; y < image.height(); y++)
            for (int x = 0; x < image.width(); x++)
                mask[y * image.width() + x] = masks[(index * h + (int) ((y + 0.5) * h / image.height())) * w + (int) ((x + 0.5) * w / image.width())] > 0.5f;
        return mask;
    }

    @Override
    public void close() {
        model.close();
    }
}
