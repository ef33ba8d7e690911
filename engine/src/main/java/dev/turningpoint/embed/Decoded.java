package dev.turningpoint.embed;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** The latents of a batch became pixels in the memory of its callers. */
@Name("dev.turningpoint.Decoded")
@Label("Batch decoded")
@Category("TurningPoint")
@StackTrace(false)
final class Decoded extends Event {
    private static final Decoded PROBE = new Decoded();

    @Label("Session") String session;
    @Label("Rows") int rows;
    @Label("LoRA version") long version;

    /** Begins one; null while events are off. */
    static Decoded start() {
        if (!PROBE.isEnabled()) return null;
        var event = new Decoded();
        event.begin();
        return event;
    }

    static void end(Decoded event, Session session, int rows, long version) {
        if (event == null) return;
        event.session = session.toString();
        event.rows = rows;
        event.version = version;
        event.commit();
    }
}
