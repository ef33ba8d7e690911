/**
 * From the words of a prompt to the tokens of a condition: for the glyph model, one token a letter. Uses nothing else of the engine. Words come from data;
 * tokens go to the model's token embedding.
 */
package dev.turningpoint.text;
