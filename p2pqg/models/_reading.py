"""What models that read texts have in common: rows of token numbers, filled up at the end."""

from __future__ import annotations

from torch import Tensor, nn


class Reader(nn.Module):
    """A network whose forward takes token numbers [batch, length] and returns logits.

    Args:
        pad: the number that fills up short texts.
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def trimmed(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Leave out the columns at the end in which every text is over.

        Args:
            tokens: integers [batch, length].

        Returns:
            int64 [batch, longest], and bool of that shape: where there is text. The first token
            counts as text, or nothing would be left of an empty one.
        """
        tokens, text = shortened(tokens, tokens != self.pad)
        return tokens.long(), text


def shortened(texts: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Texts and where they are, as long as the longest; the first token counts as text.

    Args:
        texts: [batch, length, ...].
        there: [batch, length], bool; changed.
    """
    there[:, 0] = True
    longest = int(there.any(0).nonzero().max()) + 1
    return texts[:, :longest], there[:, :longest]
