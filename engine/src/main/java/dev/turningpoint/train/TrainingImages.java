package dev.turningpoint.train;

import java.lang.foreign.MemorySegment;

/** Pictures to pre-train on. A sample depends on its number alone, so that a resumed run sees what an uninterrupted one would have seen. */
@FunctionalInterface
public interface TrainingImages {
    /**
     * @param sample number of the sample, counted over the whole run
     * @param image  receives f32 [height * width] in -1..1
     * @param tokens receives i32 [tokens], the picture's word
     */
    void render(long sample, MemorySegment image, MemorySegment tokens);
}
