"""The small world that the pocket models know: facts, and the pictures, clips and sentences that tell them."""
