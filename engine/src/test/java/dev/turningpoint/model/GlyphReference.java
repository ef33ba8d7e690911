package dev.turningpoint.model;

import java.util.HashMap;
import java.util.Map;

/** The glyph network in float64, written from its formulas with plain loops: what the kernels are compared with. One image at a time. */
final class GlyphReference {
    private final GlyphConfig c;
    final Map<String, double[]> parameters = new HashMap<>();
    /** Low-rank branch by layer name, or empty: y += scale * (x A^T) B^T. */
    final Map<String, double[][]> adapters = new HashMap<>();
    int rank;
    double scale;

    GlyphReference(GlyphConfig config) {
        c = config;
    }

    double[] velocity(float[] image, double sigma, int[] word) {
        int d = c.dim();
        int ni = c.imageTokens();
        int nt = c.tokens();
        double[] text = new double[nt * d];
        for (int t = 0; t < nt; t++) {
            for (int j = 0; j < d; j++) {
                text[t * d + j] = p("context_embedder.weight")[word[t] * d + j] + p("context_embedder.pos_embed")[t * d + j];
            }
        }
        int half = GlyphConfig.TIMESTEP_FEATURES / 2;
        double[] sinusoid = new double[2 * half];
        for (int i = 0; i < half; i++) {
            double angle = 1000 * sigma * Math.exp(-Math.log(10000) * i / half);
            sinusoid[i] = Math.cos(angle);
            sinusoid[half + i] = Math.sin(angle);
        }
        double[] condition = linear("time_text_embed.timestep_embedder.linear_2", silu(linear("time_text_embed.timestep_embedder.linear_1", sinusoid, 1)), 1);
        double[] pooled = linear("time_text_embed.text_embedder", text, 1);
        for (int j = 0; j < d; j++) {
            condition[j] += pooled[j];
        }
        double[] activated = silu(condition);

        int p = c.patch();
        int columns = c.width() / p;
        double[] patches = new double[ni * p * p];
        for (int y = 0; y < c.height(); y++) {
            for (int x = 0; x < c.width(); x++) {
                patches[((y / p) * columns + x / p) * p * p + (y % p) * p + x % p] = image[y * c.width() + x];
            }
        }
        double[] x = linear("pos_embed.proj", patches, ni);
        for (int i = 0; i < x.length; i++) {
            x[i] += p("pos_embed.pos_embed")[i];
        }
        for (int i = 0; i < c.depth(); i++) {
            String b = "transformer_blocks." + i + ".";
            boolean last = i == c.depth() - 1;
            double[] mx = linear(b + "norm1.linear", activated, 1);
            double[] mt = linear(b + "norm1_context.linear", activated, 1);
            double[] qkvX = linear(b + "attn.to_qkv", modulated(x, mx, 0), ni);
            double[] qkvT = linear(b + "attn.add_qkv_proj", modulated(text, mt, 0), nt);
            double[] o = attention(qkvX, qkvT, p(b + "attn.norm_q.weight"), p(b + "attn.norm_k.weight"), p(b + "attn.norm_added_q.weight"), p(b + "attn.norm_added_k.weight"));
            x = feed(x, java.util.Arrays.copyOf(o, ni * d), mx, b + "attn.to_out.0", b + "ff.net.0.proj", b + "ff.net.2", ni);
            if (!last) {
                text = feed(text, java.util.Arrays.copyOfRange(o, ni * d, (ni + nt) * d), mt, b + "attn.to_add_out", b + "ff_context.net.0.proj", b + "ff_context.net.2", nt);
            }
        }
        double[] out = linear("proj_out", modulated(x, linear("norm_out.linear", activated, 1), 0), ni);
        double[] velocity = new double[c.latentSize()];
        for (int y = 0; y < c.height(); y++) {
            for (int xx = 0; xx < c.width(); xx++) {
                velocity[y * c.width() + xx] = out[((y / p) * columns + xx / p) * p * p + (y % p) * p + xx % p];
            }
        }
        return velocity;
    }

    private double[] feed(double[] x, double[] attended, double[] modulation, String out, String up, String down, int tokens) {
        x = gated(x, linear(out, attended, tokens), modulation, 2);
        double[] hidden = linear(up, modulated(x, modulation, 3), tokens);
        for (int i = 0; i < hidden.length; i++) {
            double h = hidden[i];
            hidden[i] = h / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (h + 0.044715 * h * h * h)));
        }
        return gated(x, linear(down, hidden, tokens), modulation, 5);
    }

    private double[] attention(double[] qkvX, double[] qkvT, double[] qx, double[] kx, double[] qt, double[] kt) {
        int d = c.dim();
        int hd = c.headDim();
        int ni = c.imageTokens();
        int n = c.jointTokens();
        double[] out = new double[n * d];
        for (int h = 0; h < c.heads(); h++) {
            double[][] q = new double[n][];
            double[][] k = new double[n][];
            double[][] v = new double[n][];
            for (int t = 0; t < n; t++) {
                boolean image = t < ni;
                double[] from = image ? qkvX : qkvT;
                int row = (image ? t : t - ni) * 3 * d + h * hd;
                q[t] = rms(from, row, image ? qx : qt);
                k[t] = rms(from, row + d, image ? kx : kt);
                v[t] = java.util.Arrays.copyOfRange(from, row + 2 * d, row + 2 * d + hd);
            }
            for (int i = 0; i < n; i++) {
                double[] s = new double[n];
                double max = Double.NEGATIVE_INFINITY;
                for (int j = 0; j < n; j++) {
                    for (int e = 0; e < hd; e++) {
                        s[j] += q[i][e] * k[j][e];
                    }
                    s[j] /= Math.sqrt(hd);
                    max = Math.max(max, s[j]);
                }
                double sum = 0;
                for (int j = 0; j < n; j++) {
                    s[j] = Math.exp(s[j] - max);
                    sum += s[j];
                }
                for (int j = 0; j < n; j++) {
                    for (int e = 0; e < hd; e++) {
                        out[i * d + h * hd + e] += s[j] / sum * v[j][e];
                    }
                }
            }
        }
        return out;
    }

    private double[] rms(double[] from, int at, double[] weight) {
        double sum = 0;
        for (int e = 0; e < weight.length; e++) {
            sum += from[at + e] * from[at + e];
        }
        double r = 1 / Math.sqrt(sum / weight.length + 1e-6);
        double[] out = new double[weight.length];
        for (int e = 0; e < weight.length; e++) {
            out[e] = from[at + e] * r * weight[e];
        }
        return out;
    }

    private double[] modulated(double[] x, double[] modulation, int chunk) {
        int d = c.dim();
        double[] out = new double[x.length];
        for (int row = 0; row < x.length; row += d) {
            double mean = 0;
            double variance = 0;
            for (int j = 0; j < d; j++) {
                mean += x[row + j] / d;
            }
            for (int j = 0; j < d; j++) {
                variance += (x[row + j] - mean) * (x[row + j] - mean) / d;
            }
            double r = 1 / Math.sqrt(variance + 1e-6);
            for (int j = 0; j < d; j++) {
                out[row + j] = (x[row + j] - mean) * r * (1 + modulation[(chunk + 1) * d + j]) + modulation[chunk * d + j];
            }
        }
        return out;
    }

    private double[] gated(double[] x, double[] y, double[] modulation, int chunk) {
        int d = c.dim();
        double[] out = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            out[i] = x[i] + modulation[chunk * d + i % d] * y[i];
        }
        return out;
    }

    private double[] linear(String name, double[] x, int rows) {
        double[] w = p(name + ".weight");
        double[] b = p(name + ".bias");
        double[] y = product(x, w, rows, b.length);
        for (int i = 0; i < y.length; i++) {
            y[i] += b[i % b.length];
        }
        double[][] adapter = adapters.get(name);
        if (adapter != null) {
            double[] low = product(product(x, adapter[0], rows, rank), adapter[1], rows, b.length);
            for (int i = 0; i < y.length; i++) {
                y[i] += scale * low[i];
            }
        }
        return y;
    }

    private static double[] product(double[] x, double[] w, int rows, int out) {
        int in = x.length / rows;
        double[] y = new double[rows * out];
        for (int r = 0; r < rows; r++) {
            for (int o = 0; o < out; o++) {
                double sum = 0;
                for (int i = 0; i < in; i++) {
                    sum += x[r * in + i] * w[o * in + i];
                }
                y[r * out + o] = sum;
            }
        }
        return y;
    }

    private static double[] silu(double[] x) {
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            y[i] = x[i] / (1 + Math.exp(-x[i]));
        }
        return y;
    }

    private double[] p(String name) {
        return parameters.get(name);
    }
}
