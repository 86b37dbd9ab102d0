"""The small world that the pocket models know: facts, and the images, videos and sentences that tell them."""
