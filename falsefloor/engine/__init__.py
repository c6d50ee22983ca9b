"""One unit of work, from subject to stored record; settling of witnesses."""
