/**
 * State of a run on disk: numbered safetensors files, written beside their place and renamed, the oldest removed.
 * It uses the weights-converter's reader and writer and the tensors of a model.
 * Training writes and reads it.
 */
package dev.turningpoint.checkpoint;
