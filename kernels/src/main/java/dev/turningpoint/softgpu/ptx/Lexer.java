package dev.turningpoint.softgpu.ptx;

import java.util.ArrayList;
import java.util.List;

/** PTX text to tokens. A dotted name ({@code ld.global.v4.f32}, {@code %tid.x}) is one token; of one that begins with a dot each part is. */
final class Lexer {
    enum Kind { WORD, NUMBER, STRING, MARK, END }

    /** @param start offset of the first character in the text */
    record Token(Kind kind, String text, int line, int start) {
        boolean is(String s) { return kind != Kind.STRING && text.equals(s); }
        @Override public String toString() { return kind == Kind.END ? "end of text" : "'" + text + "'"; }
    }

    private Lexer() {}

    static List<Token> tokens(String module, String text) {
        var out = new ArrayList<Token>(text.length() / 4);
        int line = 1, i = 0, n = text.length();
        while (i < n) {
            char c = text.charAt(i);
            if (c == '\n') { line++; i++; continue; }
            if (c <= ' ') { i++; continue; }
            if (c == '/' && i + 1 < n && text.charAt(i + 1) == '/') {
                while (i < n && text.charAt(i) != '\n') i++;
                continue;
            }
            if (c == '/' && i + 1 < n && text.charAt(i + 1) == '*') {
                int from = line;
                i += 2;
                while (i + 1 < n && !(text.charAt(i) == '*' && text.charAt(i + 1) == '/')) if (text.charAt(i++) == '\n') line++;
                if (i + 1 >= n) throw new PtxException(module, from, "comment without end");
                i += 2;
                continue;
            }
            int start = i;
            if (c == '"') {
                i++;
                while (i < n && text.charAt(i) != '"') {
                    if (text.charAt(i) == '\n') throw new PtxException(module, line, "string without end");
                    i += text.charAt(i) == '\\' ? 2 : 1;
                }
                if (i >= n) throw new PtxException(module, line, "string without end");
                out.add(new Token(Kind.STRING, text.substring(start + 1, i++), line, start));
            } else if (c >= '0' && c <= '9') {
                while (i < n && (isName(text.charAt(i)) || text.charAt(i) == '.'
                        || (text.charAt(i) == '+' || text.charAt(i) == '-') && isExponent(text, start, i))) i++;
                out.add(new Token(Kind.NUMBER, text.substring(start, i), line, start));
            } else if (isName(c) || c == '.' || c == '%') {
                i++;
                while (i < n) {
                    char d = text.charAt(i);
                    if (isName(d) || d == '.' && c != '.') i++;   // .reg.b32 is two words
                    else if (d == ':' && i + 1 < n && text.charAt(i + 1) == ':') i += 2;
                    else break;
                }
                out.add(new Token(Kind.WORD, text.substring(start, i), line, start));
            } else {
                i++;
                out.add(new Token(Kind.MARK, String.valueOf(c), line, start));
            }
        }
        out.add(new Token(Kind.END, "", line, n));
        return out;
    }

    private static boolean isName(char c) {
        return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$';
    }

    /** A sign belongs to a decimal literal such as 1.5e-3, not to a hexadecimal one such as 0x1e-3. */
    private static boolean isExponent(String text, int start, int at) {
        char before = text.charAt(at - 1);
        if (before != 'e' && before != 'E') return false;
        if (text.length() > start + 1 && !Character.isDigit(text.charAt(start + 1)) && text.charAt(start + 1) != '.') return false;
        return text.substring(start, at).indexOf('.') >= 0;
    }
}
