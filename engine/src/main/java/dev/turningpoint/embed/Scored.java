package dev.turningpoint.embed;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A batch was scored. */
@Name("dev.turningpoint.Scored")
@Label("Batch scored")
@Category("TurningPoint")
@StackTrace(false)
final class Scored extends Event {
    private static final Scored PROBE = new Scored();

    @Label("Session") String session;
    @Label("Rows") int rows;

    /** Begins one; null while events are off. */
    static Scored start() {
        if (!PROBE.isEnabled()) return null;
        var event = new Scored();
        event.begin();
        return event;
    }

    static void end(Scored event, Session session, int rows) {
        if (event == null) return;
        event.session = session.toString();
        event.rows = rows;
        event.commit();
    }
}
