package dev.turningpoint.kernels.cases;

import static dev.turningpoint.gpu.DType.F32;
import static dev.turningpoint.gpu.DType.I32;
import static dev.turningpoint.kernels.cases.Tolerance.EXACT;

import dev.turningpoint.gpu.DType;
import dev.turningpoint.kernels.EmbedKernels;
import dev.turningpoint.kernels.cases.KernelCase.Builder;
import dev.turningpoint.kernels.cases.KernelCase.Family;
import java.util.List;

/** {@code embed.cu}: copies, sums in a fixed order, and sinusoids from correctly rounded operations. */
final class EmbedCases {
    private static final Family<EmbedKernels> EMBED = new Family<>("embed", EmbedKernels.class, EmbedKernels::new);

    private EmbedCases() {
    }

    private record Images(Size size, int batch, int channels, int height, int width, int patch, boolean channelsLast) implements KernelCase.Shape {
        long pixels() {
            return (long) batch * channels * height * width;
        }
    }

    private record Tokens(Size size, int batch, int tokens, int width, int vocabulary) implements KernelCase.Shape {
        long elements() {
            return (long) batch * tokens * width;
        }

        /** Different ids of a batch. */
        int seen() {
            return Math.min(vocabulary, batch * tokens);
        }
    }

    private static final List<Images> IMAGES = List.of(new Images(Size.SMALL, 2, 3, 6, 70, 2, true), new Images(Size.GLYPH, 48, 1, 24, 64, 4, false),
            new Images(Size.SD35, 2, 16, 64, 64, 2, true), new Images(Size.DRAM, 256, 16, 64, 64, 2, true));
    private static final List<Tokens> TOKENS = List.of(new Tokens(Size.SMALL, 3, 5, 150, 11), new Tokens(Size.GLYPH, 48, 5, 96, 32));
    private static final List<Tokens> POSITIONS = List.of(new Tokens(Size.SMALL, 3, 7, 150, 1), new Tokens(Size.GLYPH, 48, 96, 96, 1), new Tokens(Size.SD35, 2, 1024, 1536, 1),
            new Tokens(Size.DRAM, 8, 1024, 1536, 1));
    private static final int TIMESTEP_WIDTH = 256;

    static void addTo(List<KernelCase> cases) {
        for (Images s : IMAGES) {
            for (DType image : KernelCases.STORAGES) {
                for (DType token : KernelCases.STORAGES) {
                    cases.add(patchify(s, image, token));
                    cases.add(unpatchify(s, image, token));
                }
            }
        }
        for (Tokens s : POSITIONS) {
            for (DType type : KernelCases.STORAGES) {
                cases.add(addPosition(s, type));
            }
            cases.add(positionGradient(s));
        }
        for (Tokens s : TOKENS) {
            for (DType type : KernelCases.STORAGES) {
                cases.add(timestep(s, type));
            }
            cases.add(tokenEmbedding(s));
            cases.add(tokenEmbeddingGradient(s));
        }
    }

    private static KernelCase patchify(Images s, DType image, DType token) {
        String entry = "patchify_" + image.suffix() + "_" + token.suffix();
        Builder<EmbedKernels> c = EMBED.of(entry, s);
        var images = c.read("images", image, s.pixels(), Fill.gaussian(1));
        var tokens = c.write("out", token, s.pixels(), EXACT);
        return c.launches(entry, List.of(images), List.of(tokens))
                .by((k, stream, at) -> k.patchify(stream, image, at.of(images), token, at.of(tokens), s.batch, s.channels, s.height, s.width, s.patch, s.channelsLast));
    }

    private static KernelCase unpatchify(Images s, DType image, DType token) {
        String entry = "unpatchify_" + image.suffix() + "_" + token.suffix();
        Builder<EmbedKernels> c = EMBED.of(entry, s);
        var tokens = c.read("tokens", token, s.pixels(), Fill.gaussian(1));
        var images = c.write("images", image, s.pixels(), EXACT);
        return c.launches(entry, List.of(tokens), List.of(images))
                .by((k, stream, at) -> k.unpatchify(stream, token, at.of(tokens), image, at.of(images), s.batch, s.channels, s.height, s.width, s.patch, s.channelsLast));
    }

    private static KernelCase timestep(Tokens s, DType type) {
        Builder<EmbedKernels> c = EMBED.of("timestep_embedding_" + type.suffix(), s);
        var sigma = c.read("sigma", F32, s.batch, Fill.uniform(0, 1));
        var out = c.write("out", type, (long) s.batch * TIMESTEP_WIDTH, EXACT);
        return c.launches("timestep_embedding_" + type.suffix(), List.of(sigma), List.of(out))
                .by((k, stream, at) -> k.timestepEmbedding(stream, type, at.of(sigma), at.of(out), s.batch, TIMESTEP_WIDTH));
    }

    private static KernelCase addPosition(Tokens s, DType type) {
        int n = s.tokens * s.width;
        Builder<EmbedKernels> c = EMBED.of("add_position_" + type.suffix(), s);
        var x = c.read("x", type, s.elements(), Fill.gaussian(1));
        var position = c.read("position", F32, n, Fill.gaussian(1));
        var out = c.write("out", F32, s.elements(), EXACT);
        return c.launches("add_position_" + type.suffix(), List.of(x, position), List.of(out))
                .by((k, stream, at) -> k.addPosition(stream, type, at.of(x), at.of(position), at.of(out), s.batch, n));
    }

    private static KernelCase positionGradient(Tokens s) {
        int n = s.tokens * s.width;
        Builder<EmbedKernels> c = EMBED.of("position_gradient", s);
        var dOut = c.read("dOut", F32, s.elements(), Fill.gaussian(1));
        var dPosition = c.update("dPosition", F32, n, Fill.gaussian(1), EXACT);
        return c.launches("position_gradient", List.of(dOut, dPosition), List.of(dPosition))
                .by((k, stream, at) -> k.positionGradient(stream, at.of(dOut), at.of(dPosition), s.batch, n));
    }

    private static KernelCase tokenEmbedding(Tokens s) {
        Builder<EmbedKernels> c = EMBED.of("token_embedding", s);
        var ids = ids(c, s);
        var table = c.read("table", F32, (long) s.vocabulary * s.width, (long) s.seen() * s.width, Fill.gaussian(1));
        var position = c.read("position", F32, (long) s.tokens * s.width, Fill.gaussian(1));
        var out = c.write("out", F32, s.elements(), EXACT);
        return c.launches("token_embedding", List.of(ids, table, position), List.of(out))
                .by((k, stream, at) -> k.tokenEmbedding(stream, at.of(ids), at.of(table), at.of(position), at.of(out), s.batch, s.tokens, s.width, s.vocabulary));
    }

    private static KernelCase tokenEmbeddingGradient(Tokens s) {
        Builder<EmbedKernels> c = EMBED.of("token_embedding_gradient", s);
        var ids = ids(c, s);
        var dOut = c.read("dOut", F32, s.elements(), Fill.gaussian(1));
        var dTable = c.update("dTable", F32, (long) s.vocabulary * s.width, Fill.gaussian(1), EXACT);
        return c.launches("token_embedding_gradient", List.of(ids, dOut, dTable), List.of(dTable))
                .by((k, stream, at) -> k.tokenEmbeddingGradient(stream, at.of(ids), at.of(dOut), at.of(dTable), s.batch, s.tokens, s.width, s.vocabulary));
    }

    private static Buffer ids(Builder<?> c, Tokens s) {
        return c.read("ids", I32, (long) s.batch * s.tokens, Fill.cyclic(s.vocabulary));
    }
}
